//! Tests of the crate from outside: golden cases, tables, properties, the sample's own files.

#[cfg(test)]
mod analyzers;
#[cfg(test)]
mod authorization;
#[cfg(test)]
mod compile;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod input;
#[cfg(test)]
mod mutual_tls;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod telemetry;
#[cfg(test)]
mod theatre;
#[cfg(test)]
mod told;
#[cfg(test)]
mod validate;
#[cfg(test)]
mod webhook;
#[cfg(test)]
mod weights;
#[cfg(test)]
mod world;
