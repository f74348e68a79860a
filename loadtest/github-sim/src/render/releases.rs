//! Releases and their assets.

use serde_json::{Value, json};

use crate::clock::iso;
use crate::render::{View, html_url};
use crate::world::{Asset, BOT_LOGIN, Release, Repository};

impl View<'_> {
    pub(crate) fn release(&self, repository: &Repository, release: &Release) -> Value {
        let base = self.repository_url(repository);
        let url = format!("{base}/releases/{}", release.id);
        let upload = format!(
            "{}/repos/{}/releases/{}/assets{{?name,label}}",
            self.links.uploads,
            repository.full_name(),
            release.id
        );
        let tag = &release.tag;
        let assets = release.assets.iter().map(|asset| self.asset(repository, asset));
        json!({
            "id": release.id,
            "node_id": format!("RE_kwDO{}", release.id),
            "url": url,
            "assets_url": format!("{url}/assets"),
            "upload_url": upload,
            "html_url": format!("{}/releases/tag/{tag}", html_url(repository)),
            "tarball_url": format!("{base}/tarball/{tag}"),
            "zipball_url": format!("{base}/zipball/{tag}"),
            "author": self.user(BOT_LOGIN),
            "tag_name": tag,
            "target_commitish": release.target,
            "name": release.name,
            "body": release.body,
            "draft": release.draft,
            "prerelease": release.prerelease,
            "immutable": false,
            "created_at": iso(release.at),
            "published_at": if release.draft { Value::Null } else { json!(iso(release.at)) },
            "assets": assets.collect::<Value>(),
        })
    }

    pub(crate) fn asset(&self, repository: &Repository, asset: &Asset) -> Value {
        let base = self.repository_url(repository);
        json!({
            "id": asset.id,
            "node_id": format!("RA_kwDO{}", asset.id),
            "url": format!("{base}/releases/assets/{}", asset.id),
            "browser_download_url": format!("{}/releases/download/{}", html_url(repository), asset.name),
            "name": asset.name,
            "label": null,
            "state": "uploaded",
            "content_type": asset.content_type,
            "size": asset.size,
            "digest": format!("sha256:{}", asset.sha256),
            "download_count": 0,
            "created_at": iso(asset.at),
            "updated_at": iso(asset.at),
            "uploader": self.user(BOT_LOGIN),
        })
    }
}
