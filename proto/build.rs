//! Compiles the .proto files without protoc.

use std::path::PathBuf;

use prost::Message;

const FILES: [&str; 5] = [
    "plugboard/auth/v1/auth.proto",
    "plugboard/auth/v1/custody.proto",
    "plugboard/catalog/v1/catalog.proto",
    "plugboard/gateway/v1/execution.proto",
    "plugboard/jobs/v1/jobs.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=plugboard");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Queue payloads are sliced out of the received message instead of copied.
        .bytes(".plugboard.jobs.v1")
        // Credentials must not reach a log through a derived Debug.
        .skip_debug([
            "plugboard.auth.v1.VerifyKeyRequest",
            "plugboard.auth.v1.IssuedKey",
            "plugboard.auth.v1.CreatedOrganization",
            "plugboard.auth.v1.CreateAccountRequest",
            "plugboard.auth.v1.UpdateAccountRequest",
            "plugboard.auth.v1.ResolvedAccount",
            "plugboard.auth.v1.SignInRequest",
            "plugboard.auth.v1.StartedSignIn",
            "plugboard.auth.v1.StartedDevice",
            "plugboard.auth.v1.IssuedSession",
            "plugboard.auth.v1.RedeemClaimRequest",
            "plugboard.auth.v1.SetClientRequest",
        ])
        .compile_fds(descriptors)?;
    Ok(())
}
