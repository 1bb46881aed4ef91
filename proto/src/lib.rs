//! The wire contract: generated from the `.proto` files beside this folder, module tree equal to the package tree.
//!
//! Generated types are open structs that wire compatibility rules, not the domain; `plugboard-core` translates.

#![allow(clippy::all, unreachable_pub, missing_docs)]

/// Queue payloads and journal records.
pub mod jobs {
    pub mod v1 {
        tonic::include_proto!("plugboard.jobs.v1");
    }
}

/// Catalog service.
pub mod catalog {
    pub mod v1 {
        tonic::include_proto!("plugboard.catalog.v1");
    }
}

/// Auth service.
pub mod auth {
    pub mod v1 {
        tonic::include_proto!("plugboard.auth.v1");

        /// Messages that hold a secret print their name only.
        macro_rules! opaque {
            ($($name:ident),* $(,)?) => {$(
                impl ::core::fmt::Debug for $name {
                    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                        f.write_str(concat!(stringify!($name), " { *** }"))
                    }
                }
            )*};
        }
        opaque!(
            VerifyKeyRequest,
            IssuedKey,
            CreatedOrganization,
            CreateAccountRequest,
            UpdateAccountRequest,
            ResolvedAccount,
        );
    }
}

/// The public gRPC surface.
pub mod gateway {
    pub mod v1 {
        tonic::include_proto!("plugboard.gateway.v1");
    }
}

/// Encoded `FileDescriptorSet` of all packages, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
