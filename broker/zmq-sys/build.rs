//! Builds libzmq 4.3.5 from source with libsodium, so that CURVE is there on every machine.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // libsodium-sys-stable reports where it put its own build; cargo hands that on as DEP_SODIUM_*.
    let include = std::env::var("DEP_SODIUM_INCLUDE");
    let lib = std::env::var("DEP_SODIUM_LIB");
    let (Ok(include), Ok(lib)) = (include, lib) else {
        panic!(
            "libsodium's folders are unknown (DEP_SODIUM_INCLUDE, DEP_SODIUM_LIB); \
             unset SODIUM_LIB_DIR so that libsodium is built from its crate"
        );
    };
    // Cargo shows a path package's compiler warnings at every build; libzmq's are not ours to mend.
    let mut flags = format!("{} -w", std::env::var("CXXFLAGS").unwrap_or_default());
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // libzmq's own build finds these out, `zeromq_src` does not. Without the first, every
        // message between two threads goes with a byte through a pair of Unix sockets.
        for found in ["EVENTFD", "EVENTFD_CLOEXEC", "O_CLOEXEC", "SOCK_CLOEXEC"] {
            flags.push_str(&format!(" -DZMQ_HAVE_{found}=1"));
        }
    }
    std::env::set_var("CXXFLAGS", flags);
    zeromq_src::Build::new()
        .with_libsodium(Some(zeromq_src::LibLocation::new(lib, include)))
        .build();
}
