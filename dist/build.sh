#!/usr/bin/env bash
# What a release consists of: one static program per platform with its manual pages and completions, packed, with checksums.
# 배포 파일을 만듭니다: 플랫폼마다 정적 실행 파일 하나, 매뉴얼, 자동 완성, 체크섬.
#
#   dist/build.sh [TARGET…]        into target/packages; without targets, both Linux ones that can be built here
#   OUT=DIR dist/build.sh          somewhere else
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VERSION=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
OUT="${OUT:-target/packages}"
TARGET_DIR="${CARGO_TARGET_DIR:-target}"
# The same sources give the same archive.
EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}"

if [ $# -eq 0 ]; then set -- x86_64-unknown-linux-musl aarch64-unknown-linux-musl; fi

# Compiles for a target: with zig as the C compiler for any of them, else with musl-gcc for this machine's own kind. Says so where neither can.
compile() {
  local target="$1"
  if ! rustup target list --installed 2>/dev/null | grep -qx "$target"; then
    echo "$target: not built: rustup target add $target" >&2
    return 1
  fi
  if command -v cargo-zigbuild >/dev/null 2>&1; then
    cargo zigbuild --locked --profile dist -p smov --target "$target"
  elif [ "${target%%-*}" = "$(uname -m)" ] && command -v musl-gcc >/dev/null 2>&1; then
    cargo build --locked --profile dist -p smov --target "$target"
  else
    echo "$target: not built: it needs a C compiler for musl: pip install ziglang cargo-zigbuild (or apt-get install musl-tools, for this machine's own kind)" >&2
    return 1
  fi
}

# A program that needs no library of the system names no interpreter.
is_static() { ! readelf --program-headers "$1" | grep -q INTERP; }

pack() {
  local target="$1" name="smov-$VERSION-$1" folder
  folder="$OUT/$name"
  rm -rf "$folder" && mkdir -p "$folder"
  install -m 755 "$TARGET_DIR/$target/dist/smov" "$folder/smov"
  is_static "$folder/smov" || { echo "$target: the program is not static" >&2 && return 1; }
  cp LICENSE README.md README.ko.md "$folder/"
  cp -R "$OUT/man" "$OUT/completions" "$folder/"
  tar --sort=name --mtime="@$EPOCH" --owner=0 --group=0 --numeric-owner -C "$OUT" -cf - "$name" | gzip -9n >"$OUT/$name.tar.gz"
  echo "$name: $(du -k "$folder/smov" | cut -f1) KiB, packed $(du -k "$OUT/$name.tar.gz" | cut -f1) KiB"
}

mkdir -p "$OUT"
rm -f "$OUT"/*.tar.gz "$OUT/SHA256SUMS"
built=()
for target in "$@"; do
  if compile "$target"; then built+=("$target"); fi
done
[ ${#built[@]} -gt 0 ] || exit 1
# Pages and completions are the same everywhere; a program of this machine's kind writes them.
runs=''
for target in "${built[@]}"; do
  if [ "${target%%-*}" = "$(uname -m)" ]; then runs="$TARGET_DIR/$target/dist/smov"; fi
done
if [ -z "$runs" ]; then
  cargo build --locked -p smov
  runs="$TARGET_DIR/debug/smov"
fi
"$runs" --version
rm -rf "$OUT/man" "$OUT/completions" && mkdir -p "$OUT/man" "$OUT/completions"
"$runs" man "$OUT/man"
for shell in bash zsh fish; do "$runs" completions "$shell" >"$OUT/completions/smov.$shell"; done
for target in "${built[@]}"; do pack "$target"; done
(cd "$OUT" && sha256sum -- *.tar.gz | tee SHA256SUMS)
