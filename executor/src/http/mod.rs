//! From a job to a request, from an answer to an outcome. Pure: no socket, no clock, no randomness.

pub(crate) mod failure;
pub(crate) mod page;
pub(crate) mod pick;
pub(crate) mod repeat;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod retry_after;
pub(crate) mod success;
pub(crate) mod text;
