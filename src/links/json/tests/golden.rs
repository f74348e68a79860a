//! A repository as GitHub sends it, shortened.

use super::check;

#[test]
fn rewrites_a_repository() {
    check(REPOSITORY);
}

#[test]
fn rewrites_a_repository_in_compact_form() {
    check(&REPOSITORY.lines().map(|line| line.trim().replacen("\": ", "\":", 1)).collect::<String>());
}

/// `@` is the API's base where it changes, `!` where it stays.
const REPOSITORY: &str = r##"{
  "id": 1296269,
  "node_id": "MDEwOlJlcG9zaXRvcnkxMjk2MjY5",
  "name": "Hello-World",
  "full_name": "octocat/Hello-World",
  "owner": {
    "login": "octocat",
    "id": 1,
    "avatar_url": "https://avatars.githubusercontent.com/u/583231?v=4",
    "gravatar_id": "",
    "url": "@/users/octocat",
    "html_url": "https://github.com/octocat",
    "followers_url": "@/users/octocat/followers",
    "following_url": "@/users/octocat/following{/other_user}",
    "gists_url": "@/users/octocat/gists{/gist_id}",
    "events_url": "@/users/octocat/events{/privacy}",
    "type": "User",
    "site_admin": false
  },
  "private": false,
  "html_url": "https://github.com/octocat/Hello-World",
  "description": "Mirrors !/repos/octocat/Hello-World, \"url\": \"!\" \u2014 na\u00efve caf\u00e9",
  "fork": true,
  "url": "@/repos/octocat/Hello-World",
  "archive_url": "@/repos/octocat/Hello-World/{archive_format}{/ref}",
  "branches_url": "@/repos/octocat/Hello-World/branches{/branch}",
  "collaborators_url": "@/repos/octocat/Hello-World/collaborators{/collaborator}",
  "compare_url": "@/repos/octocat/Hello-World/compare/{base}...{head}",
  "contents_url": "@/repos/octocat/Hello-World/contents/{+path}",
  "git_refs_url": "@/repos/octocat/Hello-World/git/refs{/sha}",
  "issues_url": "@/repos/octocat/Hello-World/issues{/number}",
  "notifications_url": "@/repos/octocat/Hello-World/notifications{?since,all,participating}",
  "pulls_url": "@/repos/octocat/Hello-World/pulls{/number}",
  "git_url": "git://github.com/octocat/Hello-World.git",
  "clone_url": "https://github.com/octocat/Hello-World.git",
  "svn_url": "https://svn.github.com/octocat/Hello-World",
  "mirror_url": null,
  "homepage": "!/zen",
  "size": 108,
  "stargazers_count": 80,
  "pushed_at": "2011-01-26T19:06:43Z",
  "topics": ["octocat", "!", "api"],
  "permissions": {"admin": false, "push": false, "pull": true},
  "license": {"key": "mit", "spdx_id": "MIT", "url": "@/licenses/mit", "html_url": "http://choosealicense.com/licenses/mit/"},
  "organization": null,
  "parent": {"id": 7, "url": "@/repos/octocat/Parent", "hooks_url": "@/repos/octocat/Parent/hooks"},
  "content": {
    "path": "README.md",
    "git_url": "@/repos/octocat/Hello-World/git/blobs/3d21ec53a331a6f037a91c368710b99387d012c1",
    "download_url": "https://raw.githubusercontent.com/octocat/Hello-World/main/README.md",
    "_links": {
      "self": "!/repos/octocat/Hello-World/contents/README.md",
      "comments": {"href": "@/repos/octocat/Hello-World/issues/1/comments"},
      "html": {"href": "https://github.com/octocat/Hello-World/blob/main/README.md"}
    }
  },
  "network_count": 0,
  "subscribers_count": 42
}
"##;
