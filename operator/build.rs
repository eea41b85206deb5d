//! Generates the client of Teleport's Auth from the trimmed descriptions in `proto/`, without a protoc. The server side
//! is generated for tests only. Resources that others write too are kept whole by a type of our own.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptions = protox::compile(["auth.proto", "autoupdate.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_transport(false)
        .build_server(true)
        .server_mod_attribute(".", "#[cfg(test)]")
        .extern_path(".kept.Kept", "crate::teleport::kept::Kept")
        // Sorted, as everything that may reach a user.
        .btree_map(".")
        .compile_fds(descriptions)?;
    Ok(())
}
