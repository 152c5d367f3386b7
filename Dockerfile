# The controller's image. Any Python image from 3.11 on will do: --build-arg PYTHON_IMAGE=…
ARG PYTHON_IMAGE=docker.io/library/python:3.13.16-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
# pip stays in the environment, because images derived from this one add plugins with `RUN pip install …`; setuptools,
# which older Pythons put beside it, does not.
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip uninstall --yes setuptools
# The dependencies come first: they stay in the layer cache when only our code changes.
COPY controller/requirements.txt /build/requirements.txt
RUN /opt/venv/bin/pip install --require-hashes --only-binary :all: --requirement /build/requirements.txt
COPY controller /build/controller
RUN /opt/venv/bin/pip install --no-deps /build/controller

FROM ${PYTHON_IMAGE}
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dask-kubernetes-operator" \
      org.opencontainers.image.description="The controller that reconciles Dask clusters on Kubernetes" \
      org.opencontainers.image.source="https://github.com/dask/dask-kubernetes" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Owned by the user that runs it, so that a derived image can add a plugin without becoming root; the chart mounts the
# root file system read-only, so that nothing can at run time. Everything is compiled already, for the same reason.
COPY --from=builder --chown=65532:65532 /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["/opt/venv/bin/python", "-m", "dask_operator"]
