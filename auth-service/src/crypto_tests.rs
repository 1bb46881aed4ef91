use proptest::prelude::*;

use super::*;

fn masters() -> MasterKeys {
    MasterKeys::new(MasterKey { id: "m1".into(), key: SecretKey::new([5; 32]) })
}

/// The parts of a place, owned, so that tests can exchange them.
#[derive(Debug, Clone, PartialEq)]
struct Owned {
    organization: OrganizationId,
    service: ServiceKey,
    account: AccountId,
    record_version: u64,
}

impl Owned {
    fn new(parts: &[&str; 3], record_version: u64) -> Self {
        Self {
            organization: OrganizationId::trusted(parts[0]),
            service: ServiceKey::trusted(parts[1]),
            account: AccountId::trusted(parts[2]),
            record_version,
        }
    }

    fn place(&self) -> Place<'_> {
        Place {
            organization: &self.organization,
            service: &self.service,
            account: &self.account,
            record_version: self.record_version,
        }
    }
}

fn here() -> Owned {
    Owned::new(&["org_a", "ozon", "acc_a"], 3)
}

fn fields() -> BTreeMap<String, Secret> {
    [("api_key", "canary"), ("client_id", "42"), ("empty", "")]
        .map(|(name, value)| (name.to_owned(), Secret::new(value)))
        .into()
}

#[test]
fn what_is_sealed_opens_again() {
    let sealed = seal(&masters(), here().place(), &fields()).unwrap();
    assert_eq!(open(&masters(), here().place(), &sealed).unwrap(), fields());
    let stored = serde_json::to_string(&sealed).unwrap();
    assert!(!stored.contains("canary"));
    assert_eq!(serde_json::from_str::<Sealed>(&stored).unwrap(), sealed);
    // A fresh data key and fresh nonces each time.
    assert_ne!(seal(&masters(), here().place(), &fields()).unwrap(), sealed);
}

#[test]
fn nothing_opens_elsewhere() {
    let sealed = seal(&masters(), here().place(), &fields()).unwrap();
    let elsewhere = [
        Owned::new(&["org_b", "ozon", "acc_a"], 3),
        Owned::new(&["org_a", "wildberries", "acc_a"], 3),
        Owned::new(&["org_a", "ozon", "acc_b"], 3),
        Owned::new(&["org_a", "ozon", "acc_a"], 2),
        Owned::new(&["org_a", "ozon", "acc_a"], 4),
        // The same characters, cut differently.
        Owned::new(&["org_ao", "zon", "acc_a"], 3),
        Owned::new(&["org_a", "ozona", "cc_a"], 3),
    ];
    for other in elsewhere {
        assert!(matches!(open(&masters(), other.place(), &sealed), Err(CustodyError::Refused)), "{other:?}");
    }
}

#[test]
fn any_two_parts_exchanged_do_not_open() {
    let parts = ["a", "b", "c"];
    let sealed = seal(&masters(), Owned::new(&parts, 1).place(), &fields()).unwrap();
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        let mut other = parts;
        other.swap(i, j);
        assert!(open(&masters(), Owned::new(&other, 1).place(), &sealed).is_err());
    }
}

#[test]
fn fields_cannot_change_places() {
    let sealed = seal(&masters(), here().place(), &fields()).unwrap();
    let mut swapped = sealed.clone();
    swapped.fields.insert("api_key".into(), sealed.fields["client_id"].clone());
    swapped.fields.insert("client_id".into(), sealed.fields["api_key"].clone());
    assert!(open(&masters(), here().place(), &swapped).is_err());
    let mut renamed = sealed.clone();
    let value = renamed.fields.remove("api_key").unwrap();
    renamed.fields.insert("api_token".into(), value);
    assert!(open(&masters(), here().place(), &renamed).is_err());
    // The data key is no field, and a field is no data key.
    let mut taken = sealed.clone();
    taken.wrapped_key = sealed.fields["api_key"].clone();
    assert!(open(&masters(), here().place(), &taken).is_err());
}

#[test]
fn parts_of_two_envelopes_do_not_mix() {
    let a = seal(&masters(), here().place(), &fields()).unwrap();
    let mut b = seal(&masters(), here().place(), &fields()).unwrap();
    b.fields.insert("api_key".into(), a.fields["api_key"].clone());
    assert!(open(&masters(), here().place(), &b).is_err());
}

#[test]
fn the_master_key_is_part_of_it() {
    let sealed = seal(&masters(), here().place(), &fields()).unwrap();
    let other = MasterKey { id: "m2".into(), key: SecretKey::new([6; 32]) };
    let rotated = MasterKeys::new(other.clone()).with_earlier(masters().ring().iter().cloned());
    assert_eq!(open(&rotated, here().place(), &sealed).unwrap(), fields());
    assert!(matches!(
        open(&MasterKeys::new(other), here().place(), &sealed),
        Err(CustodyError::UnknownMasterKey(id)) if id == "m1"
    ));
    // The same key under another name, and another key under the same name.
    for (id, key) in [("m2", 5), ("m1", 6)] {
        let masters = MasterKeys::new(MasterKey { id: id.into(), key: SecretKey::new([key; 32]) });
        let renamed = Sealed { master_key: id.into(), ..sealed.clone() };
        assert!(matches!(open(&masters, here().place(), &renamed), Err(CustodyError::Refused)));
    }
    assert!(matches!(open(&masters(), here().place(), &Sealed { format: 2, ..sealed }), Err(CustodyError::Format(2))));
}

#[derive(serde::Deserialize)]
struct Vectors {
    tests: Vec<Vector>,
}

#[derive(serde::Deserialize)]
struct Vector {
    id: u32,
    comment: String,
    nonce_bits: u32,
    key: String,
    iv: String,
    aad: String,
    msg: String,
    ct: String,
    tag: String,
    valid: bool,
}

/// Project Wycheproof's known answers and known attacks, on the cipher as it is used here.
#[test]
fn wycheproof() {
    let vectors: Vectors = serde_json::from_str(include_str!("testdata/wycheproof_aes_256_gcm.json")).unwrap();
    assert!(vectors.tests.len() > 80);
    let hex = |text: &str| hex::decode(text).unwrap();
    for vector in vectors.tests {
        let place = format!("{}: {}", vector.id, vector.comment);
        let key: [u8; 32] = hex(&vector.key).try_into().unwrap();
        let (iv, aad, plain) = (hex(&vector.iv), hex(&vector.aad), hex(&vector.msg));
        let sealed = Ciphertext([iv.clone(), hex(&vector.ct), hex(&vector.tag)].concat());
        let opened = decrypt(&key, &sealed, &aad);
        // A nonce of another length is no nonce of ours, however valid GCM with it is.
        if vector.valid && vector.nonce_bits == 96 {
            assert_eq!(opened.unwrap(), plain, "{place}");
            let again = encrypt_with(iv.try_into().unwrap(), &key, &plain, &aad).unwrap();
            assert_eq!(again, sealed, "{place}");
        } else {
            assert!(matches!(opened, Err(CustodyError::Refused)), "{place}");
        }
    }
}

/// One byte more or less, anywhere, and the envelope as JSON with any one character of a ciphertext changed.
#[test]
fn no_part_of_a_stored_envelope_can_be_changed() {
    let sealed = seal(&masters(), here().place(), &fields()).unwrap();
    let stored = serde_json::to_value(&sealed).unwrap();
    let mut altered = 0;
    let mut refuse = |changed: serde_json::Value| {
        altered += 1;
        // Either it is no envelope any more, or it does not open.
        if let Ok(changed) = serde_json::from_value::<Sealed>(changed.clone()) {
            assert!(open(&masters(), here().place(), &changed).is_err(), "{changed:?}");
        }
    };
    for path in ["/wrapped_key", "/fields/api_key", "/fields/client_id", "/fields/empty", "/master_key"] {
        let text = stored.pointer(path).unwrap().as_str().unwrap().to_owned();
        for at in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let mut changed = stored.clone();
            *changed.pointer_mut(path).unwrap() = String::from_utf8(other).unwrap().into();
            refuse(changed);
        }
        for other in [text[1..].to_owned(), format!("{text}A"), String::new()] {
            let mut changed = stored.clone();
            *changed.pointer_mut(path).unwrap() = other.into();
            refuse(changed);
        }
    }
    let mut changed = stored.clone();
    changed["format"] = 2.into();
    refuse(changed);
    assert!(altered > 200);
}

#[test]
fn sealing_anew_changes_the_key_and_nothing_else() {
    let old = masters();
    let sealed = seal(&old, here().place(), &fields()).unwrap();
    assert!(reseal(&old, here().place(), &sealed).unwrap().is_none(), "it is under the present key already");
    let new = MasterKey { id: "m2".into(), key: SecretKey::new([6; 32]) };
    let both = MasterKeys::new(new.clone()).with_earlier(old.ring().iter().cloned());
    let resealed = reseal(&both, here().place(), &sealed).unwrap().unwrap();
    assert_eq!(resealed.master_key(), "m2");
    // It no longer needs the old key, and is still bound to its place.
    let alone = MasterKeys::new(new);
    assert_eq!(open(&alone, here().place(), &resealed).unwrap(), fields());
    assert!(open(&alone, Owned::new(&["org_b", "ozon", "acc_a"], 3).place(), &resealed).is_err());
    assert!(matches!(reseal(&alone, here().place(), &sealed), Err(CustodyError::UnknownMasterKey(_))));
}

#[test]
fn a_ring_that_changes_changes_in_every_clone() {
    let ring = masters();
    let clone = ring.clone();
    let new = MasterKey { id: "m2".into(), key: SecretKey::new([6; 32]) };
    ring.replace(new, ring.ring().iter().cloned().collect());
    assert_eq!(clone.ring().present().id, "m2");
    assert!(clone.ring().by_id("m1").is_some());
}

/// Every bit of every ciphertext counts.
#[test]
fn a_flipped_bit_does_not_open() {
    let sealed = seal(&masters(), here().place(), &fields()).unwrap();
    let flipped = |bytes: &Ciphertext, bit: usize| {
        let mut bytes = bytes.clone();
        bytes.0[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    for bit in 0..sealed.wrapped_key.0.len() * 8 {
        let altered = Sealed { wrapped_key: flipped(&sealed.wrapped_key, bit), ..sealed.clone() };
        assert!(open(&masters(), here().place(), &altered).is_err());
    }
    for (name, value) in &sealed.fields {
        for bit in 0..value.0.len() * 8 {
            let mut altered = sealed.clone();
            altered.fields.insert(name.clone(), flipped(value, bit));
            assert!(open(&masters(), here().place(), &altered).is_err());
        }
    }
}

#[test]
fn a_truncated_envelope_does_not_open() {
    let sealed = seal(&masters(), here().place(), &fields()).unwrap();
    for length in 0..sealed.wrapped_key.0.len() {
        let wrapped_key = Ciphertext(sealed.wrapped_key.0[..length].to_vec());
        assert!(open(&masters(), here().place(), &Sealed { wrapped_key, ..sealed.clone() }).is_err());
    }
}

proptest! {
    #[test]
    fn any_two_parts_of_two_envelopes_do_not_mix(
        names in proptest::collection::btree_set("[a-z]{1,6}", 1..5),
        values in proptest::collection::vec("\\PC{0,20}", 5),
        version in 0_u64..4,
        pick: prop::sample::Index,
    ) {
        let fields: BTreeMap<String, Secret> =
            names.iter().zip(&values).map(|(name, value)| (name.clone(), Secret::new(value.as_str()))).collect();
        let place = Owned::new(&["org_a", "ozon", "acc_a"], version);
        let (a, b) = (seal(&masters(), place.place(), &fields).unwrap(), seal(&masters(), place.place(), &fields).unwrap());
        // The same content, the same place, the same key: still each has a data key of its own.
        let name = names.iter().nth(pick.index(names.len())).unwrap();
        let mut mixed = a.clone();
        mixed.fields.insert(name.clone(), b.fields[name].clone());
        prop_assert!(open(&masters(), place.place(), &mixed).is_err());
        let rewrapped = Sealed { wrapped_key: b.wrapped_key.clone(), ..a.clone() };
        prop_assert!(open(&masters(), place.place(), &rewrapped).is_err());
        prop_assert_eq!(open(&masters(), place.place(), &a).unwrap(), fields);
    }

    #[test]
    fn places_are_told_apart(
        a in ("[ab/]{0,3}", "[ab/]{0,3}", "[ab/]{0,3}", 0_u64..3),
        b in ("[ab/]{0,3}", "[ab/]{0,3}", "[ab/]{0,3}", 0_u64..3),
        value in "\\PC{0,40}",
    ) {
        let a = Owned::new(&[&a.0, &a.1, &a.2], a.3);
        let b = Owned::new(&[&b.0, &b.1, &b.2], b.3);
        let fields = BTreeMap::from([("f".to_owned(), Secret::new(value))]);
        let sealed = seal(&masters(), a.place(), &fields).unwrap();
        let opened = open(&masters(), b.place(), &sealed);
        if a == b {
            prop_assert_eq!(opened.unwrap(), fields);
        } else {
            prop_assert!(opened.is_err());
        }
    }
}
