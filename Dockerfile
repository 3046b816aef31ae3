# syntax=docker/dockerfile:1

# The image holds the program, the few files of the C library that it loads, and the public certificate authorities:
# no shell, no package manager, nothing to update but the image that it is built in.
FROM rust:1-bookworm AS build

RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake libcap2-bin \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist --bin serin \
    && image/collect target/dist/serin /image

FROM scratch

COPY --from=build /image /

# Belongs to nobody on any node. The program's file capability lets it bind ports 80 and 443 all the same.
USER 65532:65532

# http, https, health and metrics
EXPOSE 80 443 10254

STOPSIGNAL SIGTERM
ENTRYPOINT ["/serin"]
CMD ["run"]
