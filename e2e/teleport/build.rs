//! Compiles the wire messages. Pure Rust: no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["types.proto", "auth.proto", "autoupdate.proto", "control.proto"];
    for file in files {
        println!("cargo:rerun-if-changed=proto/{file}");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().include_file("wire.rs").compile_fds(descriptors)?;
    Ok(())
}
