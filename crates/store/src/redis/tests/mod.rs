//! What only a Redis server of one's own can show: its settings, its memory, its death.

mod crashes;
mod durability;
mod memory;
mod order;
mod server;
mod setup;
mod tls;
mod work;
