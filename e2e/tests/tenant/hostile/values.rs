//! Texts that mean something to one of those who read them later. The same in each run: a seed and an index make one.

/// A text to try, and what it is after.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// What it tries.
    pub what: &'static str,
    /// The text.
    pub text: String,
}

/// By what kind of reader they are meant for.
const FRAGMENTS: [(&str, &str); 64] = [
    // Unicode
    ("bidi override", "\u{202e}moc.elgoog"),
    ("bidi isolate", "\u{2066}a\u{2069}"),
    ("zero width", "a\u{200b}b"),
    ("zero width joiner", "\u{200d}"),
    ("byte order mark", "\u{feff}"),
    ("homoglyph", "\u{0430}cme"),
    ("dotless i", "\u{0131}"),
    ("combining", "e\u{0301}\u{0301}\u{0301}"),
    ("full width", "\u{ff0e}\u{ff0f}\u{ff1a}"),
    ("outside of the first plane", "\u{1f600}"),
    ("line separator", "\u{2028}"),
    ("next line", "\u{85}"),
    ("no break space", "\u{a0}"),
    ("not a character", "\u{fffe}"),
    // Control characters
    ("NUL", "\0"),
    ("bell", "\u{7}"),
    ("escape sequence", "\u{1b}[2J"),
    ("delete", "\u{7f}"),
    ("tab", "\t"),
    ("carriage return", "\r\n"),
    ("line feed", "\n"),
    ("blank", " "),
    // YAML
    ("YAML mapping", "a: b"),
    ("YAML comment", " # "),
    ("YAML anchor", "&a"),
    ("YAML alias", "*a"),
    ("YAML tag", "!!python/object/apply:os.system"),
    ("YAML directive", "%YAML 1.1"),
    ("YAML document", "\n---\nkind: role\n"),
    ("YAML end of document", "\n...\n"),
    ("YAML merge", "<<: *a"),
    ("YAML block", "|\n  a"),
    ("YAML flow", "{a: [b, c]}"),
    ("YAML quote", "'\""),
    ("YAML boolean", "yes"),
    ("YAML null", "~"),
    ("YAML number", "1e3"),
    ("YAML octal", "0o17"),
    ("YAML sexagesimal", "12:30:45"),
    ("YAML injected line", "a\nauth_service:\n  enabled: false"),
    // JSON
    ("JSON quote", "\",\"Effect\":\"Allow\",\"x\":\""),
    ("JSON escape", "\\u0022"),
    ("JSON end", "\"}]}"),
    // ARN and IAM
    ("wildcard", "*"),
    ("one character wildcard", "?"),
    ("ARN of everything", "arn:aws:s3:::*"),
    ("ARN segment", ":extra"),
    ("ARN of another account", "arn:aws:kms:us-west-2:999999999999:key/k"),
    ("policy variable", "${aws:username}"),
    ("policy variable for a star", "${*}"),
    // DNS and labels
    ("trailing dot", "."),
    ("empty label", ".."),
    ("leading hyphen", "-a"),
    ("underscore", "_acme-challenge"),
    ("punycode", "xn--80ak6aa92e"),
    ("port", ":443"),
    ("label of the operator", "app.kubernetes.io/name"),
    ("label selector", ",tenancy.dev/tenant-id!=a"),
    // Shells, templates, paths, queries
    ("template", "{{ .Values.secret }}"),
    ("command", "$(reboot)"),
    ("command line", "; rm -rf / #"),
    ("backquotes", "`id`"),
    ("path", "../../etc/passwd"),
    ("query", "&sse_kms_key=x#%2f%00"),
];

/// All that are tried on a field: alone, and before, behind and within a text that the field takes, as the seed has it. `longest`
/// is the bound of the schema.
pub fn of(seed: u64, good: &str, longest: Option<u64>) -> Vec<Hostile> {
    let mut random = seed;
    let mut all: Vec<Hostile> = FRAGMENTS
        .iter()
        .map(|(what, fragment)| {
            let text = match next(&mut random) % 4 {
                0 => (*fragment).to_owned(),
                1 => format!("{fragment}{good}"),
                2 => format!("{good}{fragment}"),
                _ => {
                    let half = good.char_indices().nth(good.chars().count() / 2).map_or(0, |(at, _)| at);
                    format!("{}{fragment}{}", &good[..half], &good[half..])
                }
            };
            Hostile { what, text }
        })
        .collect();
    let longest = usize::try_from(longest.unwrap_or(253)).unwrap_or(253);
    all.push(Hostile { what: "empty", text: String::new() });
    all.push(Hostile { what: "one too long", text: "a".repeat(longest + 1) });
    all.push(Hostile { what: "as long as may be", text: "a".repeat(longest) });
    all.push(Hostile { what: "as long as may be, four bytes each", text: "\u{1f600}".repeat(longest) });
    all.push(Hostile { what: "far too long", text: good.repeat(200_000 / good.len().max(1)) });
    all
}

/// Numbers that follow from each other (Knuth, MMIX).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}
