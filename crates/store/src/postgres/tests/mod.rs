//! What only PostgreSQL has: its settings, its death, its passwords and certificates, what stands before it, and its plans.

mod durability;
mod full_disk;
mod opening;
mod order;
mod outages;
mod plans;
mod pooler;
mod purging;
mod races;
mod server;
mod tls;
