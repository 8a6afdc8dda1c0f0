# The three projects and all their packages, as the lock has them.
#
#   docker build --tag keras-medical-imaging .
#   docker build --tag keras-medical-imaging:cuda --build-arg LOCK=requirements-cuda.lock .
#
# What is read and written lies outside, in folders that are mounted:
#
#   docker run --rm --volume "$PWD/data:/app/data" --volume "$PWD/runs:/app/runs" \
#       keras-medical-imaging pneumonia_classification/train.py --preset demo
#   docker run --rm --gpus all ... keras-medical-imaging:cuda pneumonia_classification/train.py
FROM python:3.12-slim-bookworm
ARG LOCK=requirements.lock
# Of those whose folders are mounted: --build-arg USER_ID="$(id -u)"
ARG USER_ID=1000

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY requirements.lock requirements-cuda.lock ./
RUN pip install --no-deps --require-hashes -r "$LOCK"
COPY . .
RUN pip install --no-deps ./third_party/opencv-python -e . \
    && pip check \
    && useradd --uid "$USER_ID" --create-home user \
    && install -d -o user data/raw data/synthetic data/prepared runs
USER $USER_ID
ENTRYPOINT ["python"]
CMD ["-m", "common.results", "--help"]
