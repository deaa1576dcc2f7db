//! Ten thousand seeded mutations of a valid credential of every kind: none enters, and the credential itself does.

use axum::http::StatusCode;
use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::world::{Message, MessageKey, Signer, World, bearer, holder};

const MUTANTS: usize = 10_000;

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// A character that such texts are made of.
    fn character(&mut self) -> char {
        let all = b"ABCDEFabcdef0189-_+/=.,:;\"()@ {}[]~";
        char::from(all[self.below(all.len())])
    }

    /// Changes a text a little: a character replaced, added, taken out, two exchanged, its case changed, a piece
    /// doubled, cut off, or taken from another text.
    fn change(&mut self, text: &str, other: &str) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        let at = self.below(chars.len());
        match self.below(9) {
            _ if chars.is_empty() => chars.push(self.character()),
            0 => chars[at] = self.character(),
            1 => chars.insert(at, self.character()),
            2 => drop(chars.remove(at)),
            3 => {
                let with = self.below(chars.len());
                chars.swap(at, with);
            }
            4 => {
                let c = chars[at];
                chars[at] = if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
            }
            5 => {
                let end = (at + 1 + self.below(12)).min(chars.len());
                let piece = chars[at..end].to_vec();
                chars.splice(at..at, piece);
            }
            6 => chars.truncate(at),
            7 => {
                let from: Vec<char> = other.chars().collect();
                let start = self.below(from.len());
                let end = (start + 1 + self.below(40)).min(from.len());
                let until = (at + end - start).min(chars.len());
                chars.splice(at..until, from[start..end].iter().copied());
            }
            _ => {
                // One bit, as a broken line would.
                let bit = 1 << self.below(7);
                if let Some(c) = char::from_u32(u32::from(chars[at]) ^ bit).filter(char::is_ascii) {
                    chars[at] = c;
                }
            }
        }
        chars.into_iter().collect()
    }
}

#[tokio::test]
async fn no_token_that_was_changed_enters() {
    for (seed, signer) in [(1, Signer::ed25519(1)), (2, Signer::p256()), (3, Signer::rsa())] {
        let world = World::new();
        world.publish(&[signer.jwk("k"), Signer::ed25519(9).jwk("other")]);
        let good = signer.token("k", &holder("alice"));
        // To take pieces from: tokens of the same key that do not count any more, or are for somebody else.
        let mut late = holder("alice");
        late["exp"] = json!(crate::world::NOW - 3_600);
        let mut elsewhere = holder("mallory");
        elsewhere["aud"] = json!("another-service");
        let donors =
            [signer.token("k", &late), signer.token("k", &elsewhere), Signer::ed25519(8).token("k", &holder("x"))];

        let mut draw = Draw(seed);
        let (mut refused, mut codes) = (0, std::collections::BTreeMap::<String, usize>::new());
        while refused < MUTANTS {
            let donor = &donors[draw.below(3)];
            let mutant = match draw.below(10) {
                // The claims or the header said otherwise, under the old signature.
                0 | 1 => reworded(&mut draw, &good),
                // Whole parts of others.
                2 => {
                    let (ours, theirs): (Vec<_>, Vec<_>) = (good.split('.').collect(), donor.split('.').collect());
                    let parts = [0, 1, 2].map(|part| if draw.below(2) == 0 { ours[part] } else { theirs[part] });
                    parts.join(".")
                }
                _ => {
                    let mut mutant = draw.change(&good, donor);
                    for _ in 0..draw.below(3) {
                        mutant = draw.change(&mutant, donor);
                    }
                    mutant
                }
            };
            if mutant == good || !mutant.bytes().all(|b| (b' '..=b'~').contains(&b)) {
                continue;
            }
            let answer = world.send(bearer(&mutant)).await;
            assert!(answer.status.is_client_error(), "{} let {mutant} in: {answer:?}", signer.alg());
            *codes.entry(answer.code()).or_default() += 1;
            refused += 1;
        }
        assert!(
            codes["BAD_SIGNATURE"] > 1_000 && codes["UNAUTHENTICATED"] > 500,
            "mutants that die early show nothing: {codes:?}"
        );
        let answer = world.bearer(&good).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "holder/alice"), "the original enters");
    }
}

/// The token with another header or other claims, and the signature it had.
fn reworded(draw: &mut Draw, good: &str) -> String {
    let parts: Vec<_> = good.split('.').collect();
    let text = |part: &str| String::from_utf8(Base64UrlUnpadded::decode_vec(part).expect("base64")).expect("JSON");
    let (header, claims) = (text(parts[0]), text(parts[1]));
    let b64 = |text: String| Base64UrlUnpadded::encode_string(text.as_bytes());
    let (header, claims) = match draw.below(12) {
        0 => (header.replace("EdDSA", "none").replace("ES256", "none").replace("RS256", "none"), claims),
        1 => (header.replace("EdDSA", "HS256").replace("ES256", "HS256").replace("RS256", "HS256"), claims),
        2 => (header.replace("\"k\"", "\"other\""), claims),
        3 => (header.replace("JWT", "limit-grant+jwt"), claims),
        4 => (header.replacen('{', r#"{"crit":["exp"],"#, 1), claims),
        5 => (header.replacen('{', r#"{"jku":"https://evil.example/jwks","#, 1), claims),
        6 => (header, claims.replace("alice", "bob")),
        7 => (header, claims.replacen("\"exp\":1", "\"exp\":9", 1)),
        8 => (header, claims.replacen('{', r#"{"role":"admin","#, 1)),
        9 => (header, claims.replace("plimsoll", "plimsoll-desk")),
        10 => (header.replacen('{', "{ ", 1), claims),
        _ => (header, claims.replacen(',', ", ", 1)),
    };
    let signature = if draw.below(8) == 0 { "" } else { parts[2] };
    format!("{}.{}.{signature}", b64(header), b64(claims))
}

#[tokio::test]
async fn no_signed_message_that_was_changed_enters() {
    for (seed, key_id, key) in [(4, "core", MessageKey::core()), (5, "ledger", MessageKey::ledger())] {
        let world = World::new();
        let good = Message::new("0123456789abcdef", key_id).sign(&key);
        // Signed by the same key, about something else.
        let mut donor = Message::new("fedcba9876543210", key_id);
        donor.target = "/v1/whom".to_owned();
        donor.body = b"{}".to_vec();
        donor.headers[1].1 = format!("sha-256=:{}:", Base64::encode_string(&Sha256::digest(&donor.body)));
        let donor = donor.sign(&key);

        let mut draw = Draw(seed);
        let (mut refused, mut codes) = (0, std::collections::BTreeMap::<String, usize>::new());
        while refused < MUTANTS {
            let mut mutant = good.clone();
            match draw.below(16) {
                0 => mutant.body = draw.change(std::str::from_utf8(&good.body).expect("text"), "\u{7f}{}").into_bytes(),
                1 => mutant.method = ["PUT", "GET", "DELETE", "PATCH", "post"][draw.below(5)].to_owned(),
                2 => mutant.target = draw.change(&good.target, &donor.target),
                3 => drop(mutant.headers.remove(draw.below(good.headers.len()))),
                4 => {
                    let twice = mutant.headers[draw.below(good.headers.len())].clone();
                    mutant.headers.push(twice);
                }
                5 => {
                    let which = draw.below(good.headers.len());
                    mutant.headers[which].1 = donor.headers[which].1.clone();
                }
                // A body and a digest that fit each other, and not the signature.
                6 => {
                    mutant.body = draw.change(std::str::from_utf8(&good.body).expect("text"), "0").into_bytes();
                    let digest = Base64::encode_string(&Sha256::digest(&mutant.body));
                    mutant.headers[1].1 = format!("sha-256=:{digest}:");
                }
                _ => {
                    for _ in 0..=draw.below(2) {
                        let which = draw.below(good.headers.len());
                        mutant.headers[which].1 = draw.change(&mutant.headers[which].1, &donor.headers[which].1);
                    }
                }
            }
            // Space around a header's value is not part of it.
            let said = |message: &Message| {
                let headers: Vec<_> =
                    message.headers.iter().map(|(n, v)| (n.clone(), v.trim_matches([' ', '\t']).to_owned())).collect();
                (message.method.clone(), message.target.clone(), headers, message.body.clone())
            };
            let Some(request) = mutant.request().filter(|_| said(&mutant) != said(&good)) else { continue };
            if request.uri().path_and_query().is_some_and(|target| target.as_str() == good.target)
                && mutant.target != good.target
            {
                // A fragment: clients do not send it, and nobody sees it.
                continue;
            }
            let answer = world.send(request).await;
            assert!(answer.status.is_client_error(), "{key_id} let {mutant:?} in: {answer:?}");
            *codes.entry(answer.code()).or_default() += 1;
            refused += 1;
        }
        assert!(codes["BAD_SIGNATURE"] > 1_000 && codes["UNAUTHENTICATED"] > 500, "{codes:?}");
        let answer = world.send(good.request().expect("a request")).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, format!("bridge/{key_id} 15").as_str()));
        let again = world.send(good.request().expect("a request")).await;
        assert_eq!((again.status, again.code().as_str()), (StatusCode::UNAUTHORIZED, "NONCE_REUSED"), "once");
    }
}
