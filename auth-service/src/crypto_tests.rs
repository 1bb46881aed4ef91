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
    let rotated = MasterKeys::new(other.clone()).with_earlier(masters().iter().cloned());
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
