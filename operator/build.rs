//! Generates the client of Teleport's Auth from the trimmed descriptions in `proto/`, without a protoc. The server
//! side is generated for tests only.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptions = protox::compile(["auth.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_transport(false)
        .build_server(true)
        .server_mod_attribute(".", "#[cfg(test)]")
        .compile_fds(descriptions)?;
    Ok(())
}
