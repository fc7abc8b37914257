//! Without a build script cargo leaves out build dependencies, and with them their features.
fn main() {}
