//! Releases, their assets, and archives of the source.

use crate::context::{Cx, flag, required, text};
use crate::exchange::{Answer, Reply};
use crate::world::{Asset, Release, Repository};

fn release<'a>(cx: &'a Cx<'_>) -> Result<&'a Release, Reply> {
    let id = cx.number("release_id")?;
    cx.repository().releases.get(&id).ok_or_else(Reply::not_found)
}

fn show(cx: &Cx<'_>, release: Option<&Release>) -> Answer {
    let release = release.ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(cx.view().release(cx.repository(), release)).modified_at(release.at))
}

pub(crate) fn list(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let releases: Vec<&Release> = repository.releases.values().rev().collect();
    Ok(cx.page(&releases, |view, release| view.release(repository, release)))
}

pub(crate) fn read(cx: &mut Cx<'_>) -> Answer {
    let release = release(cx)?;
    show(cx, Some(release))
}

pub(crate) fn latest(cx: &mut Cx<'_>) -> Answer {
    let is_full = |release: &&Release| !release.draft && !release.prerelease;
    show(cx, cx.repository().releases.values().rev().find(is_full))
}

pub(crate) fn by_tag(cx: &mut Cx<'_>) -> Answer {
    let tag = cx.param("tag");
    show(cx, cx.repository().releases.values().find(|release| release.tag == tag))
}

/// `POST …/releases`: also creates the tag, unless the release is a draft.
pub(crate) fn create(cx: &mut Cx<'_>) -> Answer {
    let body = cx.request.json()?;
    let tag = required(&body, "tag_name")?;
    let now = cx.now;
    let repository = cx.repository_mut();
    let target = text(&body, "target_commitish").unwrap_or_else(|| repository.default_branch.clone());
    let release = Release {
        id: repository.next_id(),
        name: text(&body, "name"),
        body: text(&body, "body"),
        draft: flag(&body, "draft"),
        prerelease: flag(&body, "prerelease"),
        target: target.clone(),
        at: now,
        assets: Vec::new(),
        tag,
    };
    if repository.releases.values().any(|known| known.tag == release.tag && !known.draft) {
        return Err(Reply::invalid("Release", "tag_name", "already_exists", "tag_name"));
    }
    let commit = repository.git.resolve(&target).map(|commit| commit.id.clone());
    let commit =
        commit.ok_or_else(|| Reply::invalid("Release", "target_commitish", "invalid", "target_commitish"))?;
    if !release.draft {
        repository.git.refs.entry(format!("refs/tags/{}", release.tag)).or_insert(commit);
    }
    repository.releases.insert(release.id, release.clone());
    Ok(Reply::created(cx.view().release(cx.repository(), &release)))
}

pub(crate) fn assets(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let release = release(cx)?;
    Ok(cx.page(&release.assets, |view, asset| view.asset(repository, asset)))
}

/// `POST {uploads}/repos/{owner}/{repo}/releases/{id}/assets?name=`. Large files are not kept.
pub(crate) fn upload(cx: &mut Cx<'_>) -> Answer {
    release(cx)?;
    let name = cx
        .request
        .query("name")
        .ok_or_else(|| Reply::invalid("ReleaseAsset", "name", "missing_field", "name is missing"))?;
    let request = cx.request;
    let is_whole = request.body.len() as u64 == request.body_bytes;
    let mut asset = Asset {
        id: 0,
        name: name.to_owned(),
        content_type: request.header("content-type").unwrap_or("application/octet-stream").to_owned(),
        size: request.body_bytes,
        sha256: request.body_sha256.clone(),
        bytes: is_whole.then(|| request.body.clone()),
        at: cx.now,
    };
    let id = cx.number("release_id")?;
    let repository = cx.repository_mut();
    asset.id = repository.next_id();
    let release = repository.releases.get_mut(&id).ok_or_else(Reply::not_found)?;
    if release.assets.iter().any(|known| known.name == asset.name) {
        return Err(Reply::invalid("ReleaseAsset", "name", "already_exists", "name"));
    }
    release.assets.push(asset.clone());
    Ok(Reply::created(cx.view().asset(cx.repository(), &asset)))
}

/// `GET …/releases/assets/{id}`: the asset's JSON, or a redirect to its bytes.
pub(crate) fn asset(cx: &mut Cx<'_>) -> Answer {
    let id = cx.number("asset_id")?;
    let repository: &Repository = cx.repository();
    let mut assets = repository.releases.values().flat_map(|release| &release.assets);
    let asset = assets.find(|asset| asset.id == id).ok_or_else(Reply::not_found)?;
    if cx.request.header("accept").is_some_and(|accept| accept.contains("octet-stream")) {
        let url = format!("{}/assets/{id}?signature=sim", cx.links().storage);
        return Ok(Reply::redirect(302, &url));
    }
    Ok(Reply::ok(cx.view().asset(repository, asset)))
}

/// `GET …/tarball[/{ref}]` and `…/zipball[/{ref}]`: redirects to another host.
pub(crate) fn archive(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let name = match cx.param("ref") {
        "" => repository.default_branch.as_str(),
        name => name,
    };
    let commit = repository.git.resolve(name).ok_or_else(Reply::not_found)?;
    let kind = if cx.route.template.contains("tarball") { "legacy.tar.gz" } else { "legacy.zip" };
    let url =
        format!("{}/archive/{}/{kind}/{}?token=sim", cx.links().storage, repository.full_name(), commit.id);
    Ok(Reply::redirect(302, &url))
}
