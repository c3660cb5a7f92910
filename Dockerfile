# sailsim in a container: `docker build -t sailsim .`, then `docker run --rm -v "$PWD:/work" sailsim run`.
# The stage `tools` has what README asks for; .devcontainer builds that one and sets the checkout up in it.
FROM debian:stable-slim AS tools
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git make g++ cmake python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*

FROM tools
COPY . /sailsim
RUN make -C /sailsim .venv/.installed
WORKDIR /work
ENTRYPOINT ["/sailsim/.venv/bin/sailsim"]
CMD ["--help"]
