# Hookcast's image: its static binary, a place for its store, and nothing else. README.md says how to run it; `make image-check`
# tries what is here without a container engine.

ARG RUST_VERSION=1.95

# Runs on the platform that the image is for, and builds for it.
FROM rust:${RUST_VERSION}-slim-trixie AS builder
WORKDIR /src
# The tools come before the sources, so that a change of the sources leaves them where they are.
COPY scripts/build-static scripts/
RUN scripts/build-static --tools
COPY . .
# The caches keep what was compiled before, above all the dependencies.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    scripts/build-static /image/hookcast
RUN mkdir /image/data

FROM scratch
LABEL org.opencontainers.image.title="Hookcast" \
      org.opencontainers.image.description="A webhook service: post an event once, and every subscriber gets it" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY LICENSE /
COPY --from=builder /image/hookcast /
COPY --from=builder --chown=65532:65532 /image/data /data
ENV HOOKCAST_LISTEN=0.0.0.0:9000 \
    HOOKCAST_DATABASE_URL=sqlite:///data/hookcast.db
# Where hookcast.toml is looked for, and the only place that the server can write to.
WORKDIR /data
VOLUME /data
USER 65532:65532
EXPOSE 9000
STOPSIGNAL SIGTERM
# The command gives up by itself after 5 s and says why, which an engine's limit does not.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["/hookcast", "health"]
ENTRYPOINT ["/hookcast"]
CMD ["serve"]
