//! What holds for the repository itself.
