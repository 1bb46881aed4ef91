//! Loading, renewal, roles, and connections, with certificates made here.

mod connections;
mod files;
mod loading;
mod renewal;
