# What CI runs.
verify:
    ./tests/run

# The quick loop: format, lints, unit tests.
check:
    cargo fmt --all --check
    cargo clippy --profile ci --workspace --all-targets --all-features -- -D warnings
    cargo nextest run --cargo-profile ci --workspace --lib

# Everything on one machine, in one process, without an account.
sandbox:
    cargo run --release -- up --sandbox

# The distributed shape as processes on this machine.
cluster *args:
    deploy/local/cluster up {{args}}

# Calls per second and latency against the yardsticks.
bench:
    ./tests/bench
