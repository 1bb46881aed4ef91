//! Ranked search over the catalog, in English and Russian, with typing errors. No model: a dictionary of the words of
//! all connectors, and the weight of each word in each connector.

use std::collections::HashMap;

use super::connector::Connector;
use super::model::Category;
use crate::ids::ServiceKey;

/// How much a word counts, by where it stands.
mod weight {
    pub(super) const KEY: f32 = 12.0;
    pub(super) const NAME: f32 = 10.0;
    /// Above keywords: who asks for a kind of service means those of that kind, not those that mention it.
    pub(super) const CATEGORY: f32 = 7.0;
    pub(super) const KEYWORD: f32 = 6.0;
    pub(super) const TAGLINE: f32 = 4.0;
    pub(super) const DESCRIPTION: f32 = 2.0;
    pub(super) const MODULE: f32 = 2.0;
    pub(super) const OPERATION: f32 = 1.0;
    /// What a further place adds to the best one.
    pub(super) const AGAIN: f32 = 0.1;
}

/// How much a word of the query counts that is not written like the word it meets.
mod likeness {
    pub(super) const EXACT: f32 = 1.0;
    /// The word begins with it: somebody is typing.
    pub(super) const PREFIX: f32 = 0.8;
    /// Another form of the same word.
    pub(super) const FORM: f32 = 0.65;
    pub(super) const TYPO: f32 = 0.5;
}

/// Words that say nothing.
const STOP_WORDS: [&str; 42] = [
    "a",
    "an",
    "and",
    "api",
    "as",
    "at",
    "by",
    "for",
    "from",
    "in",
    "is",
    "of",
    "on",
    "or",
    "send",
    "the",
    "to",
    "with",
    "и",
    "в",
    "во",
    "на",
    "по",
    "с",
    "со",
    "для",
    "из",
    "к",
    "от",
    "о",
    "об",
    "у",
    "за",
    "не",
    "как",
    "что",
    "или",
    "до",
    "при",
    "через",
    "отправить",
    "сервис",
];

/// One connector that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub key: ServiceKey,
    /// Only comparable within one answer.
    pub score: f32,
}

/// The words of one snapshot.
#[derive(Debug, Default)]
pub struct SearchIndex {
    connectors: Vec<Entry>,
    words: Vec<Word>,
}

#[derive(Debug)]
struct Entry {
    key: ServiceKey,
    /// Key and names in one piece, for queries written in one piece.
    whole: Vec<String>,
}

#[derive(Debug)]
struct Word {
    text: String,
    length: usize,
    /// Connector and the weight the word has in it: of the best place, and a little of every other.
    found_in: Vec<(u32, f32)>,
}

impl SearchIndex {
    /// Costs some milliseconds for a hundred connectors: build it once a snapshot.
    pub fn build(connectors: impl Iterator<Item: AsRef<Connector>>) -> Self {
        let mut index = Self::default();
        let mut places: HashMap<String, usize> = HashMap::new();
        for (at, connector) in connectors.enumerate() {
            let connector = connector.as_ref();
            let manifest = connector.manifest();
            let names = [Some(&manifest.key), Some(&manifest.name), manifest.name_ru.as_ref()];
            let whole = names.into_iter().flatten().map(|name| in_one_piece(name)).collect();
            index.connectors.push(Entry { key: connector.key().clone(), whole });
            for (text, weight) in texts(connector) {
                for text in words(text) {
                    let place = *places.entry(text.clone()).or_insert_with(|| {
                        let length = text.chars().count();
                        index.words.push(Word { text, length, found_in: Vec::new() });
                        index.words.len() - 1
                    });
                    let at = u32::try_from(at).unwrap_or(u32::MAX);
                    let found_in = &mut index.words[place].found_in;
                    match found_in.last_mut() {
                        Some((last, known)) if *last == at => {
                            *known = known.max(weight) + known.min(weight) * weight::AGAIN;
                        }
                        _ => found_in.push((at, weight)),
                    }
                }
            }
        }
        index
    }

    /// The connectors that fit best, best first. An empty query finds nothing.
    pub fn search(&self, query: &str, most: usize) -> Vec<Hit> {
        // A query is a few words; what is longer is somebody's document.
        let query: String = query.chars().take(200).collect();
        let asked: Vec<String> = words(&query).take(12).collect();
        let mut scores = vec![0.0_f32; self.connectors.len()];
        let mut matched = vec![0_u32; self.connectors.len()];
        for asked in &asked {
            let mut best = vec![0.0_f32; self.connectors.len()];
            let length = asked.chars().count();
            for word in &self.words {
                let likeness = alike(asked, length, word);
                if likeness > 0.0 {
                    let rarity = self.rarity(word);
                    for (at, weight) in &word.found_in {
                        let slot = &mut best[*at as usize];
                        *slot = slot.max(likeness * weight * rarity);
                    }
                }
            }
            for (at, score) in best.into_iter().enumerate().filter(|(_, score)| *score > 0.0) {
                scores[at] += score;
                matched[at] += 1;
            }
        }
        let whole = in_one_piece(&query);
        let mut hits: Vec<Hit> = Vec::new();
        for (at, entry) in self.connectors.iter().enumerate() {
            // What fits every word goes before what fits one of them very well.
            let share = matched[at] as f32 / asked.len().max(1) as f32;
            let score = scores[at] * share * share + name_bonus(&entry.whole, &whole);
            if score > 0.0 {
                hits.push(Hit { key: entry.key.clone(), score });
            }
        }
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.key.cmp(&b.key)));
        let best = hits.first().map_or(0.0, |hit| hit.score);
        // Far below the best there is only noise.
        hits.retain(|hit| hit.score >= best * 0.1);
        hits.truncate(most);
        hits
    }

    /// Between a half for a word that all connectors have and 1 for a word of one.
    fn rarity(&self, word: &Word) -> f32 {
        let all = (self.connectors.len() as f32).max(2.0);
        1.0 - 0.5 * (word.found_in.len() as f32).ln() / all.ln()
    }
}

fn name_bonus(names: &[String], query: &str) -> f32 {
    if query.chars().count() < 3 {
        return if names.iter().any(|name| name == query) { 20.0 } else { 0.0 };
    }
    let bonus = |name: &String| {
        if name == query {
            20.0
        } else if name.starts_with(query) {
            8.0
        } else if strsim::normalized_damerau_levenshtein(name, query) >= 0.8 {
            6.0
        } else {
            0.0
        }
    };
    names.iter().map(bonus).fold(0.0, f32::max)
}

fn texts(connector: &Connector) -> Vec<(&str, f32)> {
    let manifest = connector.manifest();
    let mut texts = vec![
        (manifest.key.as_str(), weight::KEY),
        (manifest.name.as_str(), weight::NAME),
        (manifest.category.as_str(), weight::CATEGORY),
        (category_words(manifest.category), weight::CATEGORY),
        (manifest.tagline.as_str(), weight::TAGLINE),
        (manifest.description.as_str(), weight::DESCRIPTION),
    ];
    texts.extend(manifest.name_ru.as_deref().map(|name| (name, weight::NAME)));
    texts.extend(manifest.keywords.iter().map(|keyword| (keyword.as_str(), weight::KEYWORD)));
    for (name, module) in &manifest.modules {
        texts.push((name, weight::MODULE));
        texts.push((&module.summary, weight::MODULE));
    }
    texts.extend(manifest.operations.iter().map(|operation| (operation.summary.as_str(), weight::OPERATION)));
    texts
}

/// What people call a category besides its key.
fn category_words(category: Category) -> &'static str {
    match category {
        Category::Marketplaces => "marketplace маркетплейс площадка",
        Category::Ecommerce => "shop store магазин интернет-магазин",
        Category::Crm => "sales customers crm срм продажи клиенты сделки",
        Category::ErpAccounting => "erp accounting warehouse бухгалтерия учет склад",
        Category::Banking => "bank банк счет выписка",
        Category::Payments => "payment acquiring оплата платежи эквайринг касса",
        Category::DocumentFlow => "documents edo signature документы эдо документооборот подпись",
        Category::Messengers => "messenger chat bot мессенджер чат бот",
        Category::Communications => "email sms telephony mail почта смс рассылка телефония звонки",
        Category::Advertising => "ads advertising реклама кампании",
        Category::Analytics => "analytics statistics аналитика статистика",
        Category::Logistics => "delivery shipping доставка логистика",
        Category::Data => "data reference данные справочник проверка",
        Category::Productivity => "productivity tasks notes files задачи заметки файлы",
        Category::Hr => "hr recruiting vacancies кадры вакансии резюме",
        Category::DeveloperTools => "development code разработка код",
    }
}

/// Lower case, ё as е, letters and digits; the rest separates. Stop words are dropped.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(fold)
        .filter(|word| !STOP_WORDS.contains(&word.as_str()))
}

fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).map(|character| if character == 'ё' { 'е' } else { character }).collect()
}

fn in_one_piece(text: &str) -> String {
    fold(text).chars().filter(|character| character.is_alphanumeric()).collect()
}

/// How alike a word of the query and a word of the catalog are: 0 not at all, 1 the same.
fn alike(asked: &str, length: usize, word: &Word) -> f32 {
    if asked == word.text {
        return likeness::EXACT;
    }
    if length >= 2 && word.text.starts_with(asked) {
        // `wild` is closer to `wildberries` than `wi` is.
        return likeness::PREFIX * (0.6 + 0.4 * length as f32 / word.length as f32);
    }
    let longer = length.max(word.length);
    let shorter = length.min(word.length);
    if shorter < 3 || longer < 4 {
        return 0.0;
    }
    let common = asked.chars().zip(word.text.chars()).take_while(|(a, b)| a == b).count();
    // Endings change, stems do not: at least four letters and two thirds of the longer word in common.
    if common >= 4 && common * 3 >= longer * 2 {
        return likeness::FORM * common as f32 / longer as f32 + 0.1;
    }
    let allowed = if longer >= 8 { 2 } else { 1 };
    if longer - shorter > allowed || common == 0 {
        return 0.0;
    }
    if strsim::osa_distance(asked, &word.text) <= allowed { likeness::TYPO } else { 0.0 }
}
