//! Search.

use std::sync::Arc;

use super::*;
use crate::manifest::search::SearchIndex;

/// key, name, name_ru, category, keywords, tagline
const SERVICES: [(&str, &str, &str, &str, &str, &str); 8] = [
    (
        "wildberries",
        "Wildberries",
        "Вайлдберриз",
        "marketplaces",
        "вб, wb, маркетплейс, заказы, остатки",
        "Товары, заказы, остатки на WB",
    ),
    (
        "ozon",
        "Ozon Seller API",
        "Озон",
        "marketplaces",
        "маркетплейс, заказы, отправления",
        "Товары, отправления, финансы",
    ),
    (
        "cdek",
        "CDEK API 2.0",
        "СДЭК",
        "logistics",
        "доставка, накладная, пункт выдачи, delivery",
        "Доставка и отслеживание",
    ),
    (
        "telegram",
        "Telegram Bot API",
        "Телеграм",
        "messengers",
        "телега, бот, сообщение, message",
        "Сообщения от имени бота",
    ),
    ("yandex_direct", "Yandex Direct", "Яндекс Директ", "advertising", "реклама, кампании, ads", "Рекламные кампании"),
    (
        "yandex_metrika",
        "Yandex Metrika",
        "Яндекс Метрика",
        "analytics",
        "счетчик, посещаемость, визиты",
        "Посещаемость сайтов",
    ),
    ("stripe", "Stripe", "", "payments", "payments, refunds, cards, оплата", "Payments and refunds"),
    ("github", "GitHub", "ГитХаб", "developer_tools", "git, issues, pull requests, код", "Repositories, issues, pulls"),
];

fn index() -> SearchIndex {
    let connectors: Vec<Arc<Connector>> = SERVICES
        .iter()
        .map(|(key, name, name_ru, category, keywords, tagline)| {
            let mut value = serde_json::to_value(manifest(SHOP)).unwrap();
            value["key"] = json!(key);
            value["name"] = json!(name);
            value["name_ru"] = if name_ru.is_empty() { Value::Null } else { json!(name_ru) };
            value["category"] = json!(category);
            value["keywords"] = keywords.split(", ").collect::<Vec<_>>().into();
            value["tagline"] = json!(tagline);
            value["operations"] = json!([]);
            Arc::new(Connector::from_manifest(serde_json::from_value(value).unwrap()).unwrap())
        })
        .collect();
    SearchIndex::build(connectors.iter())
}

fn found(query: &str) -> Vec<String> {
    index().search(query, 5).into_iter().map(|hit| hit.key.to_string()).collect()
}

#[test]
fn the_right_service_comes_first() {
    for (query, key) in [
        ("wildberries", "wildberries"),
        ("Wildberies", "wildberries"),
        ("wild", "wildberries"),
        ("вб", "wildberries"),
        ("ВАЙЛДБЕРРИЗ", "wildberries"),
        ("вайлдбериз", "wildberries"),
        ("ozn", "ozon"),
        ("отправление", "ozon"),
        ("доставки", "cdek"),
        ("доставить посылку", "cdek"),
        ("delivery", "cdek"),
        ("накладные", "cdek"),
        ("сообщений боту", "telegram"),
        ("send message", "telegram"),
        ("yandex direct", "yandex_direct"),
        ("yandexdirect", "yandex_direct"),
        ("яндекс директ", "yandex_direct"),
        ("реклама яндекс", "yandex_direct"),
        ("счётчик", "yandex_metrika"),
        ("метрика", "yandex_metrika"),
        ("refund", "stripe"),
        ("эквайринг", "stripe"),
        ("pull request", "github"),
        ("githab", "github"),
    ] {
        assert_eq!(found(query).first().map(String::as_str), Some(key), "{query}: {:?}", index().search(query, 5));
    }
}

#[test]
fn nonsense_finds_nothing() {
    for query in ["", "  ", "qqqqzzzz", "и на для", "the"] {
        assert!(found(query).is_empty(), "{query}");
    }
    assert!(index().search(&"x ".repeat(100_000), 5).is_empty());
}

#[test]
fn both_marketplaces_are_found_and_the_number_is_kept() {
    let both = found("маркетплейс заказы");
    assert!(both.contains(&"ozon".to_owned()) && both.contains(&"wildberries".to_owned()), "{both:?}");
    assert_eq!(index().search("яндекс", 1).len(), 1);
}
