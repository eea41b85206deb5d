//! What is sent for a server-side apply. The API server reads it as YAML, of which JSON is nearly a part: but YAML takes some
//! characters for line breaks and folds them, and refuses others, unless they are escaped. A user may have written them.

/// Escapes what YAML does not read as JSON does. Nothing but a string can hold such a character.
pub(super) fn escaped(json: Vec<u8>) -> Vec<u8> {
    if !json.iter().any(|byte| *byte >= 0x7f) {
        return json;
    }
    let Ok(text) = std::str::from_utf8(&json) else { return json };
    let mut escaped = String::with_capacity(json.len() + 64);
    for character in text.chars() {
        match u32::from(character) {
            // Beyond the first plane YAML knows no escape that JSON has, and needs none.
            code @ 0x7f..=0xffff => escaped.push_str(&format!("\\u{code:04x}")),
            _ => escaped.push(character),
        }
    }
    escaped.into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_text_comes_out_as_it_went_in_and_nothing_is_left_that_yaml_reads_otherwise() {
        for text in ["plain", "\u{7f}", "\u{85}\u{2028}\u{2029}", "\u{feff}\u{fffe}", "\u{1f600}é", "\\u2028 \" \0\t"]
        {
            let object = json!({"metadata": {"annotations": {text: text}}});
            let body = escaped(serde_json::to_vec(&object).expect("JSON"));
            assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON"), object);
            let sent = String::from_utf8(body).expect("text");
            assert!(!sent.chars().any(|character| ('\u{7f}'..='\u{ffff}').contains(&character)), "{sent}");
        }
    }
}
