# Two stages: the first builds a virtual environment from the lock file, the second holds it and nothing else.
#   docker build -t quantdesk-oracle .
#   docker run --read-only --tmpfs /tmp -v quantdesk-oracle:/var/lib/quantdesk-oracle -p 127.0.0.1:9464:9464 \
#       --env-file .env quantdesk-oracle
# scripts/container runs the same steps without Docker, as CI does.
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/quantdesk-oracle
COPY requirements/runtime.lock requirements/runtime.lock
RUN /opt/quantdesk-oracle/bin/python -m pip install --quiet --require-hashes -r requirements/runtime.lock
COPY pyproject.toml README.md LICENSE env.example ./
COPY quantdesk_oracle quantdesk_oracle
COPY schema schema
COPY config config
RUN /opt/quantdesk-oracle/bin/python -m pip install --quiet --no-deps . \
    && /opt/quantdesk-oracle/bin/python -m pip uninstall --quiet --yes pip \
    && /opt/quantdesk-oracle/bin/quantdesk-oracle --version

FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="quantdesk-oracle" \
      org.opencontainers.image.description="Pyth prices from Solana into PostgreSQL" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/quantdesk-oracle --shell /usr/sbin/nologin oracle \
    && install -d -o oracle -g oracle -m 0750 /var/lib/quantdesk-oracle
COPY --from=build /opt/quantdesk-oracle /opt/quantdesk-oracle
# Inside a container loopback is nobody's: publish the port on the host's loopback instead (see above).
ENV PATH=/opt/quantdesk-oracle/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    QUANTDESK_HTTP_HOST=0.0.0.0 \
    QUANTDESK_HTTP_PORT=9464 \
    QUANTDESK_STATE_DIR=/var/lib/quantdesk-oracle
USER 10001:10001
VOLUME ["/var/lib/quantdesk-oracle"]
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["quantdesk-oracle", "health"]
ENTRYPOINT ["quantdesk-oracle"]
CMD ["run"]
