//! What people and agents type, and what they must find: over the built-in connectors as they are.

use std::sync::Arc;

use plugboard_core::manifest::search::SearchIndex;

use crate::config::Config;
use crate::load;

/// A query, and the services that must come first, in any order among themselves.
const TABLE: &[(&str, &[&str])] = &[
    // By name, in both alphabets, with typing errors, and as people shorten it.
    ("wildberries", &["wildberries"]),
    ("вайлдберис", &["wildberries"]),
    ("вб", &["wildberries"]),
    ("озон", &["ozon"]),
    ("амо", &["amocrm"]),
    ("битрикс", &["bitrix24"]),
    ("1с", &["onec_odata"]),
    ("мой склад", &["moysklad"]),
    ("яндекс директ", &["yandex_direct"]),
    ("yandex metrica", &["yandex_metrika"]),
    ("юкасса", &["yookassa"]),
    ("тинькофф", &["tbank", "tinkoff_acquiring"]),
    ("робокасса", &["robokassa"]),
    ("манго", &["mango_office"]),
    ("сбис", &["sbis"]),
    ("атол", &["atol_online"]),
    ("озон реклама", &["ozon_performance"]),
    ("нетсьют", &["netsuite"]),
    ("сдэк", &["cdek"]),
    ("деловые линии", &["dellin"]),
    ("хедхантер", &["hh_ru"]),
    ("телега", &["telegram"]),
    ("вотсап", &["whatsapp_cloud", "wazzup"]),
    ("google sheets", &["google_sheets"]),
    ("гугл таблицы", &["google_sheets"]),
    ("ms teams", &["microsoft_teams"]),
    ("chatgpt", &["openai"]),
    ("claude", &["anthropic"]),
    ("честный знак", &["chestny_znak"]),
    ("quick books", &["quickbooks"]),
    ("shopfy", &["shopify"]),
    // By category.
    ("маркетплейс", &["wildberries", "ozon", "ebay", "etsy", "yandex_market", "kaspi", "avito"]),
    ("marketplace", &["wildberries", "ozon", "ebay", "etsy", "yandex_market", "kaspi", "avito"]),
    ("эдо", &["diadoc"]),
    ("банк", &["tbank", "tochka", "plaid", "wise"]),
    ("эквайринг", &["tinkoff_acquiring", "yookassa", "cloudpayments", "stripe", "adyen", "square", "paypal"]),
    (
        "мессенджер",
        &["telegram", "max_messenger", "slack", "vk", "wazzup", "whatsapp_cloud", "discord", "microsoft_teams"],
    ),
    ("recruiting", &["greenhouse", "hh_ru", "bamboohr"]),
    // By purpose.
    ("счета", &["tbank", "tochka", "plaid", "wise", "yookassa", "xero", "quickbooks", "moysklad", "netsuite"]),
    ("invoice", &["robokassa", "xero", "quickbooks", "tbank", "tochka", "stripe", "paypal", "square", "cloudpayments"]),
    ("остатки", &["wildberries", "ozon", "moysklad", "yandex_market"]),
    (
        "stock",
        &[
            "wildberries",
            "shipstation",
            "shopify",
            "moysklad",
            "ebay",
            "etsy",
            "square",
            "evotor",
            "woocommerce",
            "insales",
        ],
    ),
    ("выписка", &["tbank", "tochka", "plaid", "wise"]),
    ("bank statement", &["tbank", "tochka", "wise", "plaid"]),
    ("отследить посылку", &["cdek", "pochta_ru", "easypost"]),
    ("track a parcel", &["cdek", "easypost", "pochta_ru", "shipstation"]),
    ("электронная подпись", &["docusign", "diadoc", "dropbox_sign", "pandadoc"]),
    ("sign documents", &["docusign", "dropbox_sign", "pandadoc", "diadoc"]),
    ("рассылка", &["unisender", "mailchimp", "sendgrid", "klaviyo", "resend", "sms_ru"]),
    ("send sms", &["twilio", "sms_ru", "klaviyo", "unisender", "mango_office"]),
    ("отправить смс", &["sms_ru", "twilio", "unisender", "mango_office"]),
    ("проверка контрагента", &["kontur_focus"]),
    ("инн", &["dadata", "kontur_focus"]),
    ("вакансии", &["hh_ru", "greenhouse", "bamboohr"]),
    ("резюме", &["hh_ru", "greenhouse", "bamboohr"]),
    ("сделки", &["amocrm", "bitrix24", "pipedrive", "hubspot", "salesforce", "zoho_crm"]),
    ("deals pipeline", &["pipedrive", "hubspot", "amocrm", "bitrix24"]),
    ("tickets", &["zendesk", "intercom"]),
    ("merge requests", &["gitlab"]),
    ("pull requests", &["github"]),
    ("ошибки приложения", &["sentry"]),
    ("видеоконференция", &["zoom"]),
    ("календарь", &["google_calendar", "outlook", "calendly"]),
    ("частотность запросов", &["yandex_wordstat"]),
    ("посещаемость сайта", &["yandex_metrika", "google_analytics"]),
    ("маркировка", &["chestny_znak"]),
    ("чеки", &["atol_online", "evotor", "yookassa", "cloudpayments", "tinkoff_acquiring"]),
    (
        "refund a payment",
        &["stripe", "adyen", "paypal", "square", "cloudpayments", "yookassa", "robokassa", "tinkoff_acquiring"],
    ),
    ("text to speech", &["elevenlabs", "openai"]),
    ("transcript", &["supadata"]),
    ("time off", &["bamboohr"]),
];

/// How many of the answers somebody looks at.
const LOOKED_AT: usize = 5;

#[test]
fn people_find_what_they_mean() {
    let loaded = load::all(&Config::default()).unwrap();
    let connectors: Vec<_> = loaded.into_iter().map(|entry| Arc::new(entry.connector)).collect();
    let index = SearchIndex::build(connectors.iter());
    let mut wrong = Vec::new();
    for (query, expected) in TABLE {
        let found: Vec<String> =
            index.search(query, LOOKED_AT).into_iter().map(|hit| format!("{} {:.1}", hit.key, hit.score)).collect();
        let keys: Vec<&str> = found.iter().filter_map(|hit| hit.split(' ').next()).collect();
        // The first one is right, and whatever is right has a place among the first.
        let first = keys.first().is_some_and(|key| expected.contains(key));
        let all = if expected.len() <= 2 {
            expected.iter().all(|key| keys.contains(key))
        } else {
            keys.iter().take(2).all(|key| expected.contains(key))
        };
        if !first || !all {
            wrong.push(format!("{query}: {found:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), TABLE.len(), wrong.join("\n"));
}
