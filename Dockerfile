# The program, with the bpftrace of Debian trixie and Node 24, for amd64 and arm64: `docker build -t vfio-dmabuf-tracer .`
# `npm run image` builds and tests it with buildah, on stand-ins for the base images.
#
# By default the container is unprivileged and can only replay recordings. To trace the host, run it with:
#
#   docker run --user 0 --privileged --pid=host --network=host \
#     -v /sys/kernel/tracing:/sys/kernel/tracing -v /sys/kernel/debug:/sys/kernel/debug vfio-dmabuf-tracer
#
# --privileged gives bpftrace its capabilities and the host's /sys with BTF. --pid=host is needed because bpftrace 0.23
# translates pids into its own namespace, and because the daemon reads the names of VMs, pods and containers from /proc.
# The two mounts are separate file systems below /sys, which a container does not get by default. Every setting can be
# an environment variable. Without --network=host, set the address and publish the port:
#   -e VFIO_DMABUF_TRACER_WEB_LISTEN_ADDRESS=:10043 -p 127.0.0.1:10043:10043

# Debian trixie has Node 20, so Node is that of the official image. `.ci/run` reads the version here.
ARG NODE_VERSION=24.21.0

FROM docker.io/library/debian:trixie-slim AS runtime
RUN apt-get update -q \
 && apt-get install -y -q --no-install-recommends bpftrace pci.ids util-linux \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log

FROM docker.io/library/node:${NODE_VERSION}-trixie-slim AS build
WORKDIR /source
COPY package.json package-lock.json .npmrc ./
# npm reads this variable. Without it, npm uses its default registry.
ARG npm_config_registry
# Behind a TLS proxy, pass its certificate authorities as the secret `ca`. Without it Node uses its built-in list.
RUN --mount=type=secret,id=ca,target=/run/secrets/ca \
    if [ -e /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi; \
    npm ci
COPY tsconfig.json ./
COPY tools/build.mjs tools/build-options.mjs tools/sbom.mjs tools/third-party-licenses.mjs tools/
COPY tools/licenses tools/licenses
COPY server/src server/src
COPY server/web server/web
COPY probes probes
COPY docs docs
RUN npm run build
COPY --from=runtime /var/lib/dpkg/status /dpkg/status
RUN dpkg-query --admindir=/dpkg --show --showformat='${Package}\t${Version}\t${Architecture}\n' >/dpkg/packages \
 && node tools/sbom.mjs </dpkg/packages >sbom.cdx.json

# Node's image also has npm, yarn and headers, which the program does not need. So only the binary is taken from it.
FROM runtime
COPY --from=build /usr/local/bin/node /usr/local/bin/node
COPY --from=build /source/dist /usr/local/lib/vfio-dmabuf-tracer
COPY --from=build /source/sbom.cdx.json /usr/share/doc/vfio-dmabuf-tracer/sbom.cdx.json
COPY LICENSE /usr/share/doc/vfio-dmabuf-tracer/LICENSE
RUN ln -s ../lib/vfio-dmabuf-tracer/vfio-dmabuf-tracer.mjs /usr/local/bin/vfio-dmabuf-tracer

# A test compares these with package.json.
LABEL org.opencontainers.image.title="vfio-dmabuf-tracer" \
      org.opencontainers.image.description="Shows which VFIO device exports its memory as a dma-buf to whom, which import the kernel rejected, and why" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="docker.io/library/debian:trixie-slim"

USER 65534:65534
EXPOSE 10043
# It finds the sockets on which the daemon listens, so it follows an address from any source of the settings.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["node", "/usr/local/lib/vfio-dmabuf-tracer/healthcheck.mjs"]
ENTRYPOINT ["vfio-dmabuf-tracer"]
CMD ["run"]
