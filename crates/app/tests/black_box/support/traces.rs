//! Traces that a secret may leave in files, in whatever form.

use std::{fs, path::Path};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};

/// All bytes of the files in a folder: the database's own, and those beside it.
pub fn files(folder: &Path) -> Vec<u8> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).flat_map(|path| fs::read(path).unwrap()).collect()
}

/// The forms of a secret that are in these bytes. A secret with a prefix is looked for without it, and its bytes too.
pub fn found(bytes: &[u8], secret: &str) -> Vec<String> {
    let bare = secret.split_once('_').map_or(secret, |(_, bare)| bare).trim_end_matches('=');
    let mut forms = encodings("the text", bare.as_bytes());
    if let Ok(inner) = BASE64_STANDARD_NO_PAD.decode(bare) {
        forms.extend(encodings("the bytes", &inner));
    }
    let bytes = searchable(bytes);
    forms.retain(|(_, form)| {
        assert!(form.len() >= 8, "too short to be found by anything but chance");
        bytes.contains(&searchable(form))
    });
    forms.into_iter().map(|(name, _)| name).collect()
}

/// The ways to write bytes. What base64 says of them depends on how many bytes come before.
fn encodings(what: &str, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let reversed = bytes.iter().rev().copied().collect();
    let mut forms = vec![
        (format!("{what} as they are"), bytes.to_vec()),
        (format!("{what} backwards"), reversed),
        (format!("{what} in hex"), hex.to_uppercase().into()),
        (format!("{what} in hex"), hex.into()),
    ];
    for before in 0..3 {
        let shifted = [&[0; 2][..before], bytes].concat();
        for engine in [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
            let text = engine.encode(&shifted);
            // The ends depend on what is beside.
            let inner = &text[if before == 0 { 0 } else { before + 1 }..text.len() - 2];
            forms.push((format!("{what} in base64"), inner.as_bytes().to_vec()));
        }
    }
    forms
}

/// A character for each byte: texts are searched fast even where tests are built without optimisation.
fn searchable(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
