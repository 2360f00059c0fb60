//! Views of a Stack Exchange dump.

use std::collections::BTreeMap;

use jiff::civil::{DateTime, Weekday};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::Event;

use crate::{
    dump::TIME_ATTRIBUTES,
    views::{Documents, FoldError, json, update},
};

/// Posts with one tag.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TagPosts {
    /// How many.
    pub posts: u64,
}

/// Comments of one user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UserComments {
    /// Display name, once the user's registration has been seen.
    pub name: Option<String>,
    /// How many.
    pub comments: u64,
}

/// What happened on one day of the week.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DayActivity {
    /// Event type -> how often.
    pub events: BTreeMap<String, u64>,
}

type Attributes = Map<String, Value>;

fn text<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    attributes.get(name).and_then(Value::as_str)
}

/// The tags of a post: `<a><b>` in older dumps, `|a|b|` in newer ones.
fn tags(attributes: &Attributes) -> impl Iterator<Item = &str> {
    let tags = text(attributes, "Tags").unwrap_or_default();
    tags.split(['<', '>', '|']).filter(|tag| !tag.is_empty())
}

/// Tag -> posts.
pub(super) fn fold_tags(documents: &mut dyn Documents, event: &Event) -> Result<(), FoldError> {
    let attributes: Attributes = json(event).unwrap_or_default();
    tags(&attributes).try_for_each(|tag| {
        update(documents, ("posts-per-tag", tag), |document: &mut TagPosts| document.posts += 1)
    })
}

/// User -> name and comments.
pub(super) fn fold_comments(documents: &mut dyn Documents, event: &Event) -> Result<(), FoldError> {
    let attributes: Attributes = json(event).unwrap_or_default();
    let view = "comments-per-user";
    match event.event_type.as_str() {
        "UserRegistered" => {
            let Some(id) = text(&attributes, "Id") else { return Ok(()) };
            let name = text(&attributes, "DisplayName").map(str::to_owned);
            update(documents, (view, id), |user: &mut UserComments| user.name = name)
        }
        "CommentPosted" => {
            // A comment of a deleted user only has the name that was shown.
            let Some(author) =
                text(&attributes, "UserId").or_else(|| text(&attributes, "UserDisplayName"))
            else {
                return Ok(());
            };
            update(documents, (view, author), |user: &mut UserComments| user.comments += 1)
        }
        _ => Ok(()),
    }
}

/// Weekday, from `1 Monday` to `7 Sunday` -> rows by event type.
pub(super) fn fold_weekdays(documents: &mut dyn Documents, event: &Event) -> Result<(), FoldError> {
    let attributes: Attributes = json(event).unwrap_or_default();
    let time = TIME_ATTRIBUTES.iter().find_map(|name| text(&attributes, name));
    let Some(time) = time.and_then(|time| time.parse::<DateTime>().ok()) else { return Ok(()) };
    let day = weekday_key(time.weekday());
    let event_type = event.event_type.as_str().to_owned();
    update(documents, ("activity-per-weekday", day), |activity: &mut DayActivity| {
        *activity.events.entry(event_type).or_default() += 1;
    })
}

const fn weekday_key(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "1 Monday",
        Weekday::Tuesday => "2 Tuesday",
        Weekday::Wednesday => "3 Wednesday",
        Weekday::Thursday => "4 Thursday",
        Weekday::Friday => "5 Friday",
        Weekday::Saturday => "6 Saturday",
        Weekday::Sunday => "7 Sunday",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::{MemoryDocuments, tests::recorded};

    #[test]
    fn tags_of_both_dump_styles() {
        let mut documents = MemoryDocuments::default();
        for tags in ["<tea><water>", "|tea|", ""] {
            let data = serde_json::json!({"Id": "1", "Tags": tags}).to_string();
            fold_tags(&mut documents, &recorded("{post-1}", "QuestionAsked", &data)).unwrap();
        }
        let view = documents.view::<TagPosts>("posts-per-tag").unwrap();
        assert_eq!(view, [("tea", TagPosts { posts: 2 }), ("water", TagPosts { posts: 1 })]);
    }

    #[test]
    fn comments_count_whether_or_not_the_user_is_known_yet() {
        let mut documents = MemoryDocuments::default();
        for (event_type, data) in [
            ("CommentPosted", "{\"UserId\":\"3\"}"),
            ("UserRegistered", "{\"Id\":\"3\",\"DisplayName\":\"Ada\"}"),
            ("CommentPosted", "{\"UserId\":\"3\"}"),
            ("CommentPosted", "{\"UserDisplayName\":\"user9\"}"),
            ("CommentPosted", "not JSON"),
        ] {
            fold_comments(&mut documents, &recorded("{post-1}", event_type, data)).unwrap();
        }
        let view = documents.view::<UserComments>("comments-per-user").unwrap();
        let ada = UserComments { name: Some(String::from("Ada")), comments: 2 };
        let gone = UserComments { name: None, comments: 1 };
        assert_eq!(view, [("3", ada), ("user9", gone)]);
    }

    #[test]
    fn weekdays() {
        let mut documents = MemoryDocuments::default();
        let badge = "{\"Date\":\"2011-10-11T19:25:16.397\"}";
        fold_weekdays(&mut documents, &recorded("{user-1}", "BadgeAwarded", badge)).unwrap();
        let garbage = "{\"Date\":\"yesterday\"}";
        fold_weekdays(&mut documents, &recorded("{user-1}", "BadgeAwarded", garbage)).unwrap();
        let view = documents.view::<DayActivity>("activity-per-weekday").unwrap();
        let tuesday = BTreeMap::from([(String::from("BadgeAwarded"), 1)]);
        assert_eq!(view, [("2 Tuesday", DayActivity { events: tuesday })]);
    }
}
