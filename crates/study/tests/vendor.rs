//! The JavaScript libraries are those that npm published, each with its licence.
#![allow(clippy::unwrap_used)]

use std::path::Path;

#[derive(serde::Deserialize)]
struct List {
    library: Vec<Library>,
}

#[derive(serde::Deserialize)]
struct Library {
    name: String,
    version: String,
    file: String,
    sha256: String,
    licence: String,
}

#[test]
fn libraries_are_as_published_and_licensed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/vendor");
    let list: List = toml::from_str(&std::fs::read_to_string(folder.join("vendor.toml")).unwrap()).unwrap();
    let mut known = vec!["vendor.toml".to_owned()];
    for library in list.library {
        let (name, file) = (&library.name, folder.join(&library.file));
        assert_eq!(common::file_hash(&file).unwrap(), library.sha256, "{name}: another file than npm's");
        let short = name.rsplit('/').next().unwrap();
        let licence = std::fs::read_to_string(folder.join(format!("{short}.LICENSE"))).unwrap();
        let words = match library.licence.as_str() {
            "ISC" => "Permission to use, copy, modify, and/or distribute this software",
            "MIT" => "Permission is hereby granted, free of charge, to any person obtaining a copy",
            other => panic!("{name}: licence {other}"),
        };
        let flat = licence.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(words), "{name}: the licence is not {}", library.licence);
        assert!(library.version.split('.').count() == 3, "{name} {}", library.version);
        known.extend([library.file, format!("{short}.LICENSE")]);
    }
    for file in std::fs::read_dir(&folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "{name} is not in vendor.toml");
    }
}
