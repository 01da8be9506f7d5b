//! `smov up`: two clusters and a mesh on this machine.

pub(crate) mod admission;
mod authority;
pub(crate) mod baseline;
pub(crate) mod drain;
pub(crate) mod founding;
pub(crate) mod images;
pub(crate) mod known;
pub(crate) mod link;
pub(crate) mod node;
pub(crate) mod prometheus;
pub(crate) mod state;
pub(crate) mod store;
pub(crate) mod summary;
pub(crate) mod up;
