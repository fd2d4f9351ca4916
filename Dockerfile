# syntax=docker/dockerfile:1
# Images of the suite: docker build --target api-gateway --tag sluice/api-gateway .
# Targets: api-gateway, ml-worker, ml-worker-cuda, results-collector, migrate, models. See docs/03-deployment/images.md.

ARG NODE_IMAGE=docker.io/library/node:24.21.0-trixie-slim
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian13:nonroot
# CUDA 12 with cuDNN 9, as onnxruntime-node asks for.
ARG CUDA_IMAGE=docker.io/nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04

# Everything is built on the builder's own processor, for whichever the image is for: no file of ours is native.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS build
WORKDIR /src
ENV ONNXRUNTIME_NODE_INSTALL=skip TURBO_TELEMETRY_DISABLED=1
COPY . .
# The secret is for those who install from a registry of their own; without it npm uses the public one.
RUN --mount=type=cache,target=/root/.npm \
    --mount=type=secret,id=npmrc,target=/root/.npmrc \
    npm ci --include=dev --include=optional --no-audit --no-fund
RUN node_modules/.bin/turbo run build --filter=@sluice/scripts --output-logs=errors-only

FROM build AS api-gateway-files
ARG TARGETARCH
RUN node scripts/dist/images/main.js api-gateway /out --architecture "${TARGETARCH}"

FROM build AS ml-worker-files
ARG TARGETARCH
RUN node scripts/dist/images/main.js ml-worker /out --architecture "${TARGETARCH}"

# Downloads 300 MB of CUDA libraries from NuGet; amd64 only.
FROM build AS ml-worker-cuda-files
RUN node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12 \
    && node scripts/dist/images/main.js ml-worker /out --architecture amd64

FROM build AS results-collector-files
ARG TARGETARCH
RUN node scripts/dist/images/main.js results-collector /out --architecture "${TARGETARCH}"

FROM build AS migrate-files
ARG TARGETARCH
RUN node scripts/dist/images/main.js migrate /out --architecture "${TARGETARCH}"

FROM build AS models-files
RUN node packages/models/dist/build-main.js /out

FROM ${NODE_IMAGE} AS node

# glibc, libstdc++, certificates and Node; no shell, no package manager. The version of Node is that of NODE_IMAGE.
FROM ${RUNTIME_IMAGE} AS runtime
COPY --from=node /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
ENV NODE_ENV=production
USER 65532:65532
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.vendor="Sluice" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"

# An app in a container listens to its network, whose borders are drawn outside; /tmp is the only folder it writes to.
FROM runtime AS app
ENV SLUICE_CONFIG_DIR=/etc/sluice \
    SLUICE_MODEL_DIR=/models \
    SLUICE_CALIBRATION_DIR=/tmp/calibration \
    SLUICE_HOST=0.0.0.0 \
    SLUICE_OPS_HOST=0.0.0.0 \
    SLUICE_OPS_PORT=9090
EXPOSE 9090

FROM app AS api-gateway
LABEL org.opencontainers.image.title="sluice/api-gateway"
COPY --from=api-gateway-files /out /app
EXPOSE 8080
CMD ["node", "apps/api-gateway/dist/main.js"]

FROM app AS ml-worker
LABEL org.opencontainers.image.title="sluice/ml-worker"
COPY --from=ml-worker-files /out /app
CMD ["node", "apps/ml-worker/dist/main.js"]

FROM app AS results-collector
LABEL org.opencontainers.image.title="sluice/results-collector"
COPY --from=results-collector-files /out /app
CMD ["node", "apps/results-collector/dist/main.js"]

FROM app AS migrate
LABEL org.opencontainers.image.title="sluice/migrate"
COPY --from=migrate-files /out /app
CMD ["node", "scripts/dist/migrate.js"]

# A model repository in /models. It is mounted as an image volume, or run to copy the repository to /target.
FROM runtime AS models
LABEL org.opencontainers.image.title="sluice/models"
COPY --from=models-files /out /models
COPY LICENSE NOTICE packages/models/NOTICE.md /models-licences/
CMD ["node", "-e", "require('node:fs').cpSync('/models', '/target', { recursive: true })"]

FROM ${CUDA_IMAGE} AS ml-worker-cuda
COPY --from=node /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
ENV NODE_ENV=production \
    SLUICE_CONFIG_DIR=/etc/sluice \
    SLUICE_MODEL_DIR=/models \
    SLUICE_CALIBRATION_DIR=/tmp/calibration \
    SLUICE_OPS_HOST=0.0.0.0 \
    SLUICE_OPS_PORT=9090 \
    SLUICE_EXECUTION_PROVIDER=cuda
LABEL org.opencontainers.image.title="sluice/ml-worker-cuda" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=ml-worker-cuda-files /out /app
USER 65532:65532
EXPOSE 9090
CMD ["node", "apps/ml-worker/dist/main.js"]
