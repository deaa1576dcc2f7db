//! The committed header is what the sources say. `PLIMSOLL_RECORD=1 cargo test -p plimsoll-ffi --test header` renews it.

use std::path::Path;

use cbindgen::{Builder, Config, EnumConfig, ExportConfig, Language, RenameRule, Style};
use plimsoll_ffi::PLIMSOLL_ABI;

fn fresh() -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = Config {
        language: Language::C,
        header: Some(
            "/* Plimsoll's edge for C. Made from edge/ffi/src by edge/ffi/tests/header.rs: edit it there. */".into(),
        ),
        // cbindgen would give the constant the types' prefix.
        after_includes: Some(format!(
            "\n/* Of this header; compare with plimsoll_abi(). */\n#define PLIMSOLL_ABI {PLIMSOLL_ABI}"
        )),
        include_guard: Some("PLIMSOLL_H".into()),
        cpp_compat: true,
        usize_is_size_t: true,
        style: Style::Type,
        line_length: 110,
        documentation: true,
        export: ExportConfig {
            prefix: Some("Plimsoll".into()),
            exclude: vec!["PLIMSOLL_ABI".into()],
            ..ExportConfig::default()
        },
        enumeration: EnumConfig { rename_variants: RenameRule::QualifiedScreamingSnakeCase, ..EnumConfig::default() },
        ..Config::default()
    };
    let builder = Builder::new().with_config(config).with_src(dir.join("src/lib.rs"));
    let mut header = Vec::new();
    builder.generate().expect("cbindgen reads the sources").write(&mut header);
    String::from_utf8(header).expect("UTF-8")
}

#[test]
fn the_committed_header_is_what_the_sources_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("plimsoll.h");
    if std::env::var_os("PLIMSOLL_RECORD").is_some() {
        std::fs::write(&path, fresh()).expect("writes");
    }
    let committed = std::fs::read_to_string(&path).expect("edge/ffi/plimsoll.h is committed");
    assert!(committed == fresh(), "edge/ffi/plimsoll.h is out of date: run with PLIMSOLL_RECORD=1");
}
