//! What the page is told, as plain data: one type per object of the contract, with the page's own field names.

pub mod cluster;
pub mod configuration;
pub mod request;
pub mod split;
pub mod state;
pub mod timeline;
