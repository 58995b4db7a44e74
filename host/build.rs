//! Embeds the built-in rules, where `cargo xtask plugins` has built them. A build before that is complete but for them.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Rules known as `builtin:NAME`.
const BUILTIN: &[&str] = &["scd2-by-owner"];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let plugins = target_folder(&out).join("plugins");
    let mut table = String::from("&[\n");
    for name in BUILTIN {
        let component = plugins.join(format!("{name}.wasm"));
        println!("cargo::rerun-if-changed={}", component.display());
        let bytes = match fs::read(&component) {
            Ok(bytes) => {
                let copy = out.join(format!("{name}.wasm"));
                fs::write(&copy, bytes).expect("write the component's copy");
                format!("Some(include_bytes!({:?}))", copy.display().to_string())
            }
            Err(_) => "None".to_owned(),
        };
        table.push_str(&format!("    ({name:?}, {bytes}),\n"));
    }
    table.push(']');
    fs::write(out.join("builtin.rs"), table).expect("write the table of built-in rules");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../wit");
}

/// `OUT_DIR` is `<target>/[<triple>/]<profile>/build/<package>/out`; cargo marks the target folder itself.
fn target_folder(out: &Path) -> &Path {
    out.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists()).unwrap_or(out)
}
