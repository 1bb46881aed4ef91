use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};

use super::*;

fn ids(keys: &[MasterKey]) -> Vec<&str> {
    keys.iter().map(|key| key.id.as_str()).collect()
}

#[test]
fn one_key_or_several() {
    let (a, b) = ("ab".repeat(32), "cd".repeat(32));
    assert_eq!(ids(&parse_keys("x", &format!(" {a}\n")).unwrap()), ["1"]);
    assert_eq!(
        ids(&parse_keys("x", &format!("# made 2026\n1:{a}\n2026-q4:{b} # the newer\n")).unwrap()),
        ["1", "2026-q4"]
    );
    assert_eq!(ids(&parse_keys("x", &format!("1:{a},2:{b}")).unwrap()), ["1", "2"]);
}

#[test]
fn mistakes_are_named_without_the_key() {
    let (good, bad) = ("ab".repeat(32), "canary".repeat(4));
    for (text, says) in [
        (String::new(), "there is no master key"),
        (bad.clone(), "64 hexadecimal digits"),
        (format!("1:{good},1:{good}"), "two keys"),
        (format!("{good},{good}"), "two keys"),
        (format!("a b:{good}"), "64 hexadecimal digits"),
        (format!("ä:{good}"), "an id has"),
        (format!(":{good}"), "an id has"),
    ] {
        let error = parse_keys("secrets.master_key", &text).unwrap_err().to_string();
        assert!(error.contains(says) && error.starts_with("secrets.master_key"), "{text}: {error}");
        assert!(!error.contains("canary") && !error.contains(&good), "{error}");
    }
}

#[tokio::test]
async fn a_file_grows_and_shrinks_and_stays_private() {
    let folder = std::env::temp_dir().join(format!("plugboard-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("master.key");
    std::fs::write(&path, "ab".repeat(32)).unwrap();
    let file = FileKeys::new(&path, true);
    file.create("2").await.unwrap();
    let keys = file.keys().await.unwrap();
    assert_eq!(ids(&keys), ["1", "2"]);
    assert_eq!(keys[0].key.to_hex().expose(), "ab".repeat(32));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    file.remove("1").await.unwrap();
    let left = file.keys().await.unwrap();
    assert_eq!(ids(&left), ["2"]);
    assert_eq!(left[0].key.expose(), keys[1].key.expose());

    let fixed = FileKeys::new(&path, false);
    let error = fixed.create("3").await.unwrap_err();
    assert!(matches!(&error, KeySourceError::ReadOnly(advice) if advice.contains("3:<64 hex digits>")), "{error}");
    fixed.remove("2").await.unwrap();
    assert_eq!(ids(&fixed.keys().await.unwrap()), ["2"]);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(matches!(fixed.keys().await, Err(KeySourceError::Unavailable(_))));
}

/// A key manager that encrypts under a key which never leaves it.
struct Kms(Aes256Gcm);

/// A source as the module's documentation describes it: ciphertexts of a KMS beside their ids.
struct KmsKeys {
    kms: Arc<Kms>,
    stored: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Kms {
    fn decrypt(&self, id: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(&[0; 12].into(), Payload { msg: sealed, aad: id.as_bytes() }).ok()
    }
}

#[async_trait]
impl KeySource for KmsKeys {
    async fn keys(&self) -> Result<Vec<MasterKey>, KeySourceError> {
        let open = |(id, sealed): (&String, &Vec<u8>)| {
            let plain = self.kms.decrypt(id, sealed).and_then(|plain| plain.try_into().ok());
            let key = plain.ok_or_else(|| KeySourceError::Unavailable("the KMS refused".into()))?;
            Ok(MasterKey { id: id.clone(), key: SecretKey::new(key) })
        };
        self.stored.lock().iter().map(open).collect()
    }

    async fn create(&self, id: &str) -> Result<(), KeySourceError> {
        let key = SecretKey::generate().unwrap();
        let sealed = self.kms.0.encrypt(&[0; 12].into(), Payload { msg: key.expose(), aad: id.as_bytes() }).unwrap();
        self.stored.lock().insert(id.to_owned(), sealed);
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<(), KeySourceError> {
        self.stored.lock().remove(id);
        Ok(())
    }
}

#[tokio::test]
async fn a_kms_plugs_in() {
    let kms = Arc::new(Kms(Aes256Gcm::new(&[3; 32].into())));
    let source = KmsKeys { kms, stored: Mutex::default() };
    source.create("a").await.unwrap();
    source.create("b").await.unwrap();
    let before = source.keys().await.unwrap();
    assert_eq!(ids(&before), ["a", "b"]);
    assert_eq!(source.keys().await.unwrap()[0].key.expose(), before[0].key.expose());
    // A ciphertext under another id is refused by its context.
    let moved = source.stored.lock()["a"].clone();
    source.stored.lock().insert("b".into(), moved);
    assert!(source.keys().await.is_err());
}
