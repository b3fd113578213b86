# The Debian 12 packages that building and testing need; sourced by tools/bootstrap.sh.
GAMELAN_PACKAGES=(
  g++ cmake ninja-build ccache make git ca-certificates
  python3 python3-pip unzip
  libabsl-dev libfmt-dev libspdlog-dev libboost1.81-dev libssl-dev
  libcli11-dev nlohmann-json3-dev libicu-dev libpcre2-dev zlib1g-dev libhwy-dev libdnnl-dev
  libgtest-dev libgmock-dev libbenchmark-dev
)
