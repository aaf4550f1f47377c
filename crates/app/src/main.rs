mod config;

fn main() {
    println!("Hello, world!");
}
