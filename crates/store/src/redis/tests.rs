//! What only a real Redis server of one's own can show.
