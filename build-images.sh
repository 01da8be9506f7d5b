#!/usr/bin/env bash
# The theatre's four images, from the Dockerfile, for both platforms. Without a builder it says what it would run.
# 극장 서비스 이미지 네 개를 만듭니다. 빌더가 없으면 실행할 명령만 보여 줍니다.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/common.sh
. "$ROOT/scripts/common.sh"

usage() {
  cat <<'HELP'
build-images.sh [OPTION…]     builds the images of k8s/ · k8s/의 이미지를 만듦

  --registry NAME       where they go (REGISTRY); without it, theater-msa/… on this machine · 레지스트리
  --tag TAG             v1 without it (TAG) · 태그
  --push                to the registry, for every platform · 레지스트리로 올리기
  --platform LIST       linux/amd64,linux/arm64 with --push, else this machine's (PLATFORMS) · 플랫폼
  --builder NAME        docker, podman or buildah (BUILDER), else the first that is there · 빌더
  --dry-run             only show the commands · 명령만 보기
  --lang ko|en          language (SMOV_LANG), else from the locale · 메시지 언어

Exit codes · 종료 코드: 0 built, or shown · 2 wrong usage · else the builder's
HELP
}

REGISTRY="${REGISTRY:-}"
TAG="${TAG:-v1}"
PLATFORMS="${PLATFORMS:-}"
BUILDER="${BUILDER:-}"
PUSH=no
RUN=yes
while [ $# -gt 0 ]; do
  if common_option "$@"; then
    shift "$TAKEN"
    continue
  fi
  case "$1" in
    --registry | --tag | --platform | --builder)
      [ $# -ge 2 ] || wrong '%s 뒤에 값이 필요합니다' '%s needs a value' "$1"
      case "$1" in
        --registry) REGISTRY="${2%/}" ;;
        --tag) TAG="$2" ;;
        --platform) PLATFORMS="$2" ;;
        --builder) BUILDER="$2" ;;
      esac
      shift
      ;;
    --push) PUSH=yes ;;
    --dry-run) RUN=no ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && wrong '모르는 옵션입니다: %s' 'unknown option: %s' "$1" ;;
  esac
  shift
done
choose_language
if [ "$PUSH" = yes ] && [ -z "$REGISTRY" ]; then
  wrong '--push에는 --registry가 필요합니다' '--push needs --registry'
fi
# Is it there, and does it work? A docker without buildx or without its daemon cannot build these.
works() {
  case "$1" in
    docker) docker buildx version >/dev/null 2>&1 && docker info >/dev/null 2>&1 ;;
    *) "$1" --version >/dev/null 2>&1 ;;
  esac
}

case "$BUILDER" in
  '') for BUILDER in docker podman buildah ''; do if [ -z "$BUILDER" ] || works "$BUILDER"; then break; fi; done ;;
  docker | podman | buildah)
    [ "$RUN" = no ] || works "$BUILDER" || wrong '%s(으)로는 빌드할 수 없습니다 (docker는 buildx와 데몬이 필요합니다)' '%s cannot build here (docker needs buildx and its daemon)' "$BUILDER"
    ;;
  *) wrong '모르는 빌더입니다: %s' 'unknown builder: %s' "$BUILDER" ;;
esac
if [ -z "$BUILDER" ]; then
  warn 'docker(buildx), podman, buildah 가운데 쓸 수 있는 것이 없습니다. 있다면 실행할 명령은 다음과 같습니다' \
    'no docker (with buildx), podman or buildah works here; this is what would be run'
  BUILDER=docker
  RUN=no
fi
if [ -z "$PLATFORMS" ] && [ "$PUSH" = yes ]; then PLATFORMS=linux/amd64,linux/arm64; fi

# Shows a command, and runs it unless only the showing was wanted.
run() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  if [ "$RUN" = yes ]; then "$@"; fi
}

cd "$ROOT"
for service in $SERVICES; do
  image="${REGISTRY:-theater-msa}/$service:$TAG"
  platform=()
  if [ -n "$PLATFORMS" ]; then platform=(--platform "$PLATFORMS"); fi
  case "$BUILDER" in
    docker)
      # All targets share the stage that compiles, so that is done once.
      destination=--load
      if [ "$PUSH" = yes ]; then destination=--push; fi
      run docker buildx build ${platform[@]+"${platform[@]}"} --target "$service" --tag "$image" "$destination" .
      ;;
    podman | buildah)
      if [ -n "$PLATFORMS" ]; then
        run "$BUILDER" build "${platform[@]}" --layers --target "$service" --manifest "$image" .
        if [ "$PUSH" = yes ]; then run "$BUILDER" manifest push --all "$image" "docker://$image"; fi
      else
        run "$BUILDER" build --layers --target "$service" --tag "$image" .
      fi
      ;;
  esac
done
if [ "$RUN" = yes ]; then
  say '만든 이미지: %s/{%s}:%s' 'built: %s/{%s}:%s' "${REGISTRY:-theater-msa}" "$(echo "$SERVICES" | tr ' ' ,)" "$TAG"
fi
