# The four images of k8s/, each one static program and nothing else: no shell, no package manager, no user to become.
#   docker buildx build --target user-service -t REGISTRY/user-service:v1 .      (./build-images.sh builds all four)
# Plain enough for buildah and podman as well. Base images are named without a registry: the builder knows its own.

# Compiles on the builder's own platform, for whichever was asked for: zig is the C compiler and linker for both.
FROM --platform=$BUILDPLATFORM rust:1.95-slim-trixie AS build
ARG TARGETARCH
ENV CARGO_TERM_COLOR=never
WORKDIR /src
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/zig \
    && /opt/zig/bin/pip install --no-cache-dir ziglang==0.17.1 cargo-zigbuild==0.24.0 \
    && rustup target add x86_64-unknown-linux-musl aarch64-unknown-linux-musl
ENV PATH=/opt/zig/bin:$PATH
COPY . .
# The platform's name for the machine, and Rust's.
RUN case "${TARGETARCH:-amd64}" in \
      amd64) target=x86_64-unknown-linux-musl ;; \
      arm64) target=aarch64-unknown-linux-musl ;; \
      *) echo "no image for ${TARGETARCH}" >&2 && exit 1 ;; \
    esac \
    && cargo zigbuild --locked --profile dist -p smov --target "$target" \
    && install -D "target/$target/dist/smov" /out/smov

# Nothing but the program. 65532 is nobody in particular; the root file system is never written.
FROM scratch AS runtime
COPY --from=build /out/smov /smov
USER 65532:65532
ENTRYPOINT ["/smov"]

FROM runtime AS user-service
EXPOSE 8081
CMD ["app", "user"]

FROM runtime AS movie-service
EXPOSE 8082
CMD ["app", "movie"]

FROM runtime AS booking-service
EXPOSE 8083
CMD ["app", "booking"]

FROM runtime AS api-gateway
EXPOSE 8080
CMD ["app", "gateway"]
