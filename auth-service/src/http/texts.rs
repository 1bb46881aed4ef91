//! Every word on our pages, in both languages, each beside its translation. Names and hints of fields come out of
//! manifests and stand as they were written there.

use std::fmt::Display;

use plugboard_core::manifest::Category;

use super::language::Language;

macro_rules! texts {
    ($($name:ident: $en:literal / $ru:literal;)*) => {
        impl Language {
            $(pub(super) fn $name(self) -> &'static str {
                match self { Self::En => $en, Self::Ru => $ru }
            })*
        }
    };
}

macro_rules! filled {
    ($($name:ident($($value:ident),*): $en:literal / $ru:literal;)*) => {
        impl Language {
            $(pub(super) fn $name(self, $($value: impl Display),*) -> String {
                match self { Self::En => format!($en), Self::Ru => format!($ru) }
            })*
        }
    };
}

// The frame.
texts! {
    skip: "Skip to the content" / "К содержанию";
    language: "Language" / "Язык";
    sections: "Sections" / "Разделы";
    services: "Services" / "Сервисы";
    accounts: "Your accounts" / "Ваши аккаунты";
    done: "Done" / "Готово";
    footer: "What you enter is encrypted before it is stored, and is never shown again." / "Всё, что вы вводите, шифруется до сохранения и больше никому не показывается.";
    for_everyone: "shared in the organization" / "общие для организации";
    optional: "optional" / "необязательно";
    back_to_services: "All services" / "Все сервисы";
    back_to_accounts: "Your accounts" / "Ваши аккаунты";
}

filled! {
    connecting_for(organization): "Connecting for {organization}" / "Подключение для {organization}";
    on_behalf(subject): "for {subject}" / "пользователь {subject}";
}

// The catalog.
texts! {
    search_label: "Search services" / "Поиск сервиса";
    search_hint: "Ozon, CRM, delivery…" / "Ozon, CRM, доставка…";
    search: "Search" / "Найти";
    categories: "Categories" / "Категории";
    all_categories: "All" / "Все";
    nothing_found: "Nothing found" / "Ничего не нашлось";
    nothing_found_advice: "Try another word, or look through all services." / "Попробуйте другое слово или просмотрите все сервисы.";
    no_services: "There is nothing to connect yet" / "Подключать пока нечего";
    no_services_advice: "The list of services is empty. Ask whoever sent you the link." / "Список сервисов пуст. Обратитесь к тому, кто прислал ссылку.";
}

filled! {
    catalog_title(organization): "Connect your services to {organization}" / "Подключите сервисы к {organization}";
    catalog_lead(organization): "Choose a service. What you connect can be used by {organization}, and you can take it back at any time." / "Выберите сервис. Подключённым сможет пользоваться {organization}; отозвать доступ можно в любой момент.";
    found(number): "Found: {number}" / "Найдено: {number}";
}

impl Language {
    pub(super) fn accounts_number(self, number: usize) -> String {
        let word = match self {
            Self::En if number == 1 => "account",
            Self::En => "accounts",
            Self::Ru => match (number % 10, number % 100) {
                (_, 11..=14) => "аккаунтов",
                (1, _) => "аккаунт",
                (2..=4, _) => "аккаунта",
                _ => "аккаунтов",
            },
        };
        format!("{number} {word}")
    }
}

pub(super) fn category(language: Language, category: Category) -> &'static str {
    let (en, ru) = match category {
        Category::Marketplaces => ("Marketplaces", "Маркетплейсы"),
        Category::Ecommerce => ("Online shops", "Интернет-магазины"),
        Category::Crm => ("CRM", "CRM"),
        Category::ErpAccounting => ("ERP and accounting", "Учёт и ERP"),
        Category::Banking => ("Banks", "Банки"),
        Category::Payments => ("Payments", "Платежи"),
        Category::DocumentFlow => ("Documents", "Документооборот"),
        Category::Messengers => ("Messengers", "Мессенджеры"),
        Category::Communications => ("Mail and calls", "Почта и звонки"),
        Category::Advertising => ("Advertising", "Реклама"),
        Category::Analytics => ("Analytics", "Аналитика"),
        Category::Logistics => ("Delivery", "Доставка"),
        Category::Data => ("Data", "Данные"),
        Category::Productivity => ("Productivity", "Рабочие инструменты"),
        Category::Hr => ("Hiring", "Персонал"),
        Category::DeveloperTools => ("Development", "Разработка"),
    };
    if language == Language::En { en } else { ru }
}

// One service.
texts! {
    ways: "How to connect" / "Как подключить";
    sign_in_by_code: "Sign in with a code" / "Войти по коду";
    way_form: "Fill in a form" / "Заполнить форму";
    way_popup: "Sign in there, in a window" / "Войти там, в отдельном окне";
    way_code: "With a code on any device" / "По коду на любом устройстве";
    will_permit: "You will be asked to permit:" / "Вас попросят разрешить:";
    way_not_set: "Not set up yet" / "Ещё не настроено";
    where_to_find: "Where to find it" / "Где это взять";
    vendor_docs: "The service's documentation" / "Документация сервиса";
    opens_new: "opens in a new tab" / "откроется в новой вкладке";
    name_label: "Name of the account" / "Название аккаунта";
    name_hint: "Helps to tell several accounts apart, for example “Main shop”." / "Поможет различать несколько аккаунтов, например «Основной магазин».";
    connect: "Connect" / "Подключить";
    save: "Save" / "Сохранить";
    get_code: "Get a code" / "Получить код";
    show_secret: "Show" / "Показать";
    hide_secret: "Hide" / "Скрыть";
    error_prefix: "Error" / "Ошибка";
    fields_wrong: "Not connected yet" / "Пока не подключено";
    fields_wrong_advice: "Please look at these fields:" / "Проверьте эти поля:";
    secrets_again: "Secret values were not kept: please enter them again." / "Секретные значения не сохраняются: введите их ещё раз.";
    field_required: "Please fill this in." / "Заполните это поле.";
    field_line_breaks: "Paste it as one line, without line breaks." / "Вставьте одной строкой, без переносов.";
    field_too_long: "This is too long." / "Слишком длинное значение.";
    field_host: "Give the address alone, without a path: portal.example.com." / "Укажите только адрес, без пути: portal.example.com.";
    label_taken: "Another account of this service has this name. Choose a different one." / "Такое название уже есть у другого аккаунта этого сервиса. Выберите другое.";
    label_wrong: "A name has 1 to 64 characters and no colon." / "В названии от 1 до 64 символов и нет двоеточия.";
    field_label: "Name" / "Название";
    popup_waiting: "Finish in the window that has opened. This page goes on by itself." / "Завершите вход в открывшемся окне. Эта страница продолжит сама.";
    not_set_title: "Signing in is not set up here" / "Вход через сервис здесь не настроен";
    keep_blank: "Secret values are never shown. Enter them anew." / "Секретные значения не показываются. Введите их заново.";
}

filled! {
    service_title(service): "Connect {service}" / "Подключить {service}";
    sign_in_at(service): "Sign in at {service}" / "Войти через {service}";
    reconnect_title(service, label): "Connect {service} again: {label}" / "Подключить заново {service}: {label}";
    has_accounts(accounts): "You have connected this service already: {accounts}." / "Этот сервис уже подключён: {accounts}.";
    continue_at(service): "Continue at {service}" / "Продолжить в {service}";
    popup_lead(service): "You will sign in at {service} itself; we never see your password." / "Вы войдёте на стороне {service}; ваш пароль мы не увидим.";
    code_lead(service): "You will get a short code to enter at {service}, on this or another device." / "Вы получите короткий код и введёте его на сайте {service} — на этом или другом устройстве.";
    field_pattern(hint): "This does not look right. Example or rule: {hint}" / "Похоже на ошибку. Пример или правило: {hint}";
    field_pattern_plain(service): "This does not look like a value from {service}. Copy it again, whole and without spaces." / "Не похоже на значение из {service}. Скопируйте его ещё раз целиком, без пробелов.";
    field_refused(why): "This value was refused: {why}" / "Значение не принято: {why}";
    not_set_advice(organization, service): "{organization} has not registered an application at {service} yet. Ask them, or choose another way." / "{organization} ещё не зарегистрировала приложение в {service}. Обратитесь к ней или выберите другой способ.";
    vendor_said_no(service): "{service} refused. Check the values, or begin again." / "{service} отвечает отказом. Проверьте значения или начните заново.";
    vendor_silent(service): "{service} does not answer right now. Try again in a minute; nothing was lost." / "{service} сейчас не отвечает. Попробуйте через минуту, ничего не потеряно.";
    leaving_to(where_to): "On to {where_to}…" / "Переходим: {where_to}…";
}

// A code for another device.
texts! {
    code_step_open: "Open the service's page" / "Откройте страницу сервиса";
    code_step_type: "Enter this code there" / "Введите там этот код";
    code_step_wait: "Come back here" / "Вернитесь сюда";
    code_copy: "Copy the code" / "Скопировать код";
    code_copied: "Copied" / "Скопировано";
    code_waiting: "Waiting until you have entered the code…" / "Ждём, пока вы введёте код…";
    code_check: "I have entered it" / "Код введён";
    code_warning_title: "Only if you began this yourself" / "Только если вы начали это сами";
    code_warning: "Enter the code only if you opened this page yourself just now. If somebody sent you the code or reads it to you, stop: they would get into your account." / "Вводите код, только если вы сами сейчас открыли эту страницу. Если код вам прислали или продиктовали — остановитесь: так получают доступ к чужому аккаунту.";
    code_denied: "You said no at the service" / "Вы отказали в доступе";
    code_expired: "The code has expired" / "Срок кода истёк";
    code_expired_why: "A code works for a few minutes only." / "Код действует всего несколько минут.";
    code_failed: "The service refused" / "Сервис отказал";
    code_again: "Get a new code" / "Получить новый код";
    code_until: "The code works until" / "Код действует до";
}

filled! {
    code_title(service): "Sign in to {service} with a code" / "Вход в {service} по коду";
    code_open(site): "Open {site}" / "Открыть {site}";
    code_failed_why(why): "Nothing was connected: {why}." / "Ничего не подключено: {why}.";
}

// Accounts.
texts! {
    accounts_title: "Your accounts" / "Ваши аккаунты";
    accounts_lead: "Everything that you have connected, and how it is." / "Всё, что вы подключили, и в каком оно состоянии.";
    accounts_none: "Nothing is connected yet" / "Пока ничего не подключено";
    accounts_none_advice: "Choose a service, and it will be listed here." / "Выберите сервис — он появится здесь.";
    choose_service: "Choose a service" / "Выбрать сервис";
    connect_another: "Connect another" / "Подключить ещё";
    test: "Check" / "Проверить";
    rename: "Rename" / "Переименовать";
    reconnect: "Connect again" / "Переподключить";
    revoke: "Revoke" / "Отозвать";
    forget: "Remove from the list" / "Убрать из списка";
    since: "since" / "с";
    renamed: "Renamed." / "Переименовано.";
    forgotten: "Removed from the list." / "Убрано из списка.";
    revoked_notice: "Revoked. It cannot be used any more." / "Доступ отозван. Пользоваться им больше нельзя.";
    connected_notice: "Connected." / "Подключено.";

    state_connected: "Connected" / "Подключён";
    state_pending: "Almost ready" / "Почти готово";
    state_expiring: "Ends soon" / "Скоро закончится";
    state_expiring_why: "The service gave access for a limited time. Connect it again before it ends." / "Сервис дал доступ на время. Подключите заново, пока он не закончился.";
    state_needs_reauth: "Needs attention" / "Требует внимания";
    state_revoked: "Revoked" / "Отозван";
    state_revoked_why: "Access was taken back. To use it, connect it again as a new account." / "Доступ отозван. Чтобы пользоваться, подключите его как новый аккаунт.";
    state_vendor_down: "The service does not answer" / "Сервис не отвечает";
    state_vendor_down_why: "Your connection is kept, and we go on trying. There is nothing for you to do." / "Подключение сохранено, мы продолжаем попытки. От вас ничего не требуется.";
    reason_invalid_grant: "The service does not accept this sign-in any more: it ended, or was withdrawn there." / "Сервис больше не принимает этот вход: он закончился или отозван на его стороне.";
    reason_refresh_lost: "The service renewed the sign-in, but its answer did not reach us." / "Сервис обновил вход, но его ответ до нас не дошёл.";
    reason_token_expired: "The access that the service gave has ended." / "Срок доступа, который дал сервис, закончился.";
    reason_incomplete: "Some of its values are missing, because an address was changed." / "Не хватает части значений: был изменён адрес.";
    reason_other: "The service refuses it." / "Сервис отвечает отказом.";

    revoke_advice: "It becomes unusable at once, and where the service has a way to, it is told as well. This cannot be undone: you would connect it anew." / "Пользоваться им станет нельзя сразу; если у сервиса есть такая возможность, он тоже будет извещён. Отменить это нельзя — только подключить заново.";
    revoke_yes: "Revoke access" / "Отозвать доступ";
    revoke_no: "Keep it" / "Оставить";

    test_works: "The service answers, and accepts this account." / "Сервис отвечает и принимает этот аккаунт.";
    test_none: "This service has nothing that can be checked without side effects." / "У этого сервиса нет проверки без побочных действий.";
}

filled! {
    state_pending_why(organization): "Press “Done”, and {organization} can begin to use it." / "Нажмите «Готово», и {organization} сможет им пользоваться.";
    revoke_title(service, label): "Revoke {service}: {label}?" / "Отозвать {service}: {label}?";
    quoted(label): "“{label}”" / "«{label}»";
    named_action(action, label): "{action}: {label}" / "{action}: {label}";
    service_answered(code): "It answered: {code}." / "Его ответ: {code}.";
    test_refused(code): "The service refuses this account ({code}). Connect it again." / "Сервис не принимает этот аккаунт ({code}). Подключите его заново.";
    test_down(code): "The service does not answer as it should ({code}). Try again later." / "Сервис отвечает не так, как должен ({code}). Попробуйте позже.";
}

// The end.
texts! {
    done_nothing: "There is nothing new to hand over. You can finish all the same, or choose a service." / "Передавать пока нечего. Можно завершить и так или выбрать сервис.";
    done_ready_title: "Finish here?" / "Завершить?";
    done_ready: "What you have connected is ready to be used. This page ends here." / "Всё подключённое уже можно использовать. Эта страница закроется.";
    finish: "Finish" / "Завершить";
    not_yet: "Not yet" / "Ещё нет";
    finished_title: "That's all" / "Всё готово";
    finished_close: "You can close this page." / "Эту страницу можно закрыть.";
    claim_advice: "One step is left. Give this code to whoever asked you to connect; it works once, within the hour:" / "Остался один шаг. Передайте этот код тому, кто просил вас подключиться; он действует один раз, в течение часа:";
    returning_advice: "If nothing happens, use this link:" / "Если ничего не происходит, перейдите по ссылке:";
}

filled! {
    done_title(organization): "Hand over to {organization}?" / "Передать доступ {organization}?";
    done_lead(organization): "From now on {organization} can use what you have connected. This page ends here." / "С этого момента {organization} сможет пользоваться подключённым. Эта страница закроется.";
    finish_return(site): "Finish and go to {site}" / "Завершить и перейти на {site}";
    returning(site): "Back to {site}…" / "Возвращаемся на {site}…";
}

// Around a sign-in.
texts! {
    window_close: "You can close this window." / "Это окно можно закрыть.";
    to_your_accounts: "To your accounts" / "К вашим аккаунтам";
    signed_in: "You have signed in." / "Вы вошли.";
    unexpected_link: "If you did not expect this, or somebody sent you this link, close the page: nothing has happened yet." / "Если вы этого не ждали или ссылку вам прислали, закройте страницу: ещё ничего не произошло.";
}

filled! {
    asks_access(organization, service): "{organization} asks for access to your account at {service}." / "{organization} просит доступ к вашему аккаунту в {service}.";
    will_belong(owner): "It will belong to {owner}." / "Он будет принадлежать: {owner}.";
    is_signed_in(service): "{service} is signed in" / "Вход в {service} выполнен";
    is_connected(service): "{service} is connected" / "{service} подключён";
    signed_in_as(name): "You have signed in as {name}." / "Вы вошли как {name}.";
}

// What went wrong, and what to do.
texts! {
    go_back: "Go back" / "Вернуться";
    begin_again: "Begin again" / "Начать заново";
    nothing_changed: "Nothing was changed. You can begin again whenever you like." / "Ничего не изменилось. Начать заново можно в любой момент.";
    not_connected: "Not connected" / "Не подключено";
    service_refused: "The service refused" / "Сервис отказал";
    service_refused_advice: "If it stays so, the application registered at the service needs a look: its redirect address and its permissions." / "Если так и останется, нужно проверить приложение, зарегистрированное в сервисе: адрес возврата и разрешения.";
    nothing_kept: "Nothing was kept. Begin again from where you started." / "Ничего не сохранено. Начните заново с того же места.";
    sign_in_ended: "This sign-in has ended" / "Этот вход завершён";
    sign_in_ended_why: "This sign-in is not known here. It was finished before, or it was begun more than 10 minutes ago." / "Этот вход здесь неизвестен: он уже завершён или начат больше 10 минут назад.";
    takes_a_moment: "Begin again from where you started; it takes a moment." / "Начните заново с того же места — это недолго.";
    other_browser: "Another browser began this" / "Вход начат в другом браузере";
    other_browser_why: "This sign-in was begun in another browser. It can only be finished where it was begun." / "Этот вход начат в другом браузере. Завершить его можно только там.";
    other_browser_advice: "Nothing was connected. If you did not begin it yourself, somebody may be trying to use your account: close this page, and tell the service that you signed in by mistake." / "Ничего не подключено. Если вы не начинали этого сами, возможно, кто-то пытается воспользоваться вашим аккаунтом: закройте страницу и сообщите сервису, что вошли по ошибке.";
    wrong_answer: "This answer is not the one we asked for" / "Это не тот ответ, который мы ждали";
    wrong_answer_service: "This answer belongs to a sign-in at another service." / "Этот ответ относится ко входу в другой сервис.";
    wrong_answer_issuer: "This answer does not come from the service that was asked." / "Этот ответ пришёл не от того сервиса, к которому мы обращались.";
    wrong_answer_advice: "Nothing was connected, and nothing was sent to anybody. Begin again from where you started." / "Ничего не подключено и никому ничего не отправлено. Начните заново с того же места.";
    link_ended: "This link has ended" / "Ссылка больше не действует";
    link_ended_why: "A link works once, for 10 minutes, and this one has been used or has expired." / "Ссылка действует один раз в течение 10 минут; эта уже использована или устарела.";
    connect_link_ended_why: "A link works once, for 15 minutes. This one has been used already, or has expired." / "Ссылка действует один раз в течение 15 минут. Эта уже использована или устарела.";
    ask_new_link: "Ask for a new one where you got it." / "Попросите новую там, где получили эту.";
    opened_here: "If it was you who opened it, in this browser, go on where you were." / "Если её открыли вы в этом браузере, продолжайте с того же места.";
    go_on: "Go on" / "Продолжить";
    cookies_needed: "Cookies are needed" / "Нужны файлы cookie";
    cookies_needed_why: "This browser did not keep our cookie, by which we know at the end that it is still you." / "Браузер не сохранил наш файл cookie, по которому мы в конце узнаём, что это всё ещё вы.";
    cookies_needed_advice: "Allow cookies for this site and open the link again." / "Разрешите cookie для этого сайта и откройте ссылку ещё раз.";
    trouble: "Not right now" / "Не сейчас";
    trouble_why: "Something on our side does not answer. Nothing was lost." / "Что-то на нашей стороне не отвечает. Ничего не потеряно.";
    trouble_advice: "Try again in a minute." / "Попробуйте через минуту.";
    no_visit: "This page is not open in this browser" / "В этом браузере страница не открыта";
    no_visit_why: "Your hour here is over, you have finished, or the link was opened in another browser." / "Истёк час, вы уже завершили, или ссылка была открыта в другом браузере.";
    no_visit_advice: "Ask for a new link where you got the first one. What was handed over stays connected." / "Попросите новую ссылку там, где получили первую. Всё переданное остаётся подключённым.";
    other_service: "This link is not for that service" / "Эта ссылка не для этого сервиса";
    other_service_why: "Whoever made the link chose which services it may connect, and this is not one of them." / "Тот, кто создал ссылку, выбрал, какие сервисы по ней подключают; этого среди них нет.";
    other_service_advice: "Choose one from the list, or ask for another link." / "Выберите сервис из списка или попросите другую ссылку.";
    no_account: "This account is not here" / "Этого аккаунта здесь нет";
    no_account_why: "It was removed, or it is not one of yours." / "Он удалён или принадлежит не вам.";
    no_account_advice: "The list shows every account that you can manage." / "В списке показаны все аккаунты, которыми вы можете управлять.";
    stale_form: "This form is not from this visit" / "Форма не из этого посещения";
    stale_form_why: "It was opened earlier, or sent from another page. Nothing was changed." / "Она открыта раньше или отправлена с другой страницы. Ничего не изменилось.";
    stale_form_advice: "Open the page anew and fill it in again." / "Откройте страницу заново и заполните ещё раз.";
    too_much: "This is too much for one form" / "Слишком много для одной формы";
    too_much_why: "A value is longer than we take. Nothing was changed." / "Значение длиннее, чем мы принимаем. Ничего не изменилось.";
    too_much_advice: "Go back and check what was pasted." / "Вернитесь и проверьте, что было вставлено.";
    refused_here: "This cannot be done" / "Этого сделать нельзя";
    refused_here_advice: "Nothing was changed." / "Ничего не изменилось.";
}

filled! {
    denied_at(service): "You did not give your permission at {service}." / "Вы не дали разрешения в {service}.";
    vendor_said(service, code): "{service} refused: {code}." / "{service} отвечает отказом: {code}.";
    signed_in_not_connected(service, why): "{service} has signed you in, but the account could not be connected: {why}." / "Вход в {service} выполнен, но аккаунт подключить не удалось: {why}.";
}
