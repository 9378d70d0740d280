"""A deed that a prompt names without asking for it, and the same deed asked for."""

from __future__ import annotations

import pytest

from pipeline.catalog.verbs import intents, prompt_verbs

# prompt, families that must not be asked for
DESCRIBED = [
    ("search for issues about deleting users", "delete"),
    ("find tickets regarding refunding customers", "refund"),
    ("list issues mentioning refunds", "refund"),
    ("create an issue about deleting users", "delete"),
    ("show the docs on cancelling subscriptions", "cancel"),
    ("tell me about cancelling a plan", "cancel"),
    ("send an email about the refund", "refund"),
    ("what happens if I delete this issue", "delete"),
    ("what happens if I cancel it?", "cancel"),
    ("what would happen if I deleted it", "delete"),
    ("what if I delete it?", "delete"),
    ("if I delete this issue, what happens to its comments?", "delete"),
    ("explain what deleting a project does", "delete"),
    ("what does the delete endpoint do", "delete"),
    ("how does cancelling work?", "cancel"),
    ("how much does it cost to cancel", "cancel"),
    ("who can delete this issue?", "delete"),
    ("who is allowed to refund a charge", "refund"),
    ("which of these issues can I delete", "delete"),
    ("when should I cancel?", "cancel"),
    ("why can't I delete this issue", "delete"),
    ("can users delete their comments?", "delete"),
    ("should I delete this issue?", "delete"),
    ("do I have to cancel it before Friday?", "cancel"),
    ("will deleting the project remove its issues", "delete"),
    ("is it safe to delete this issue?", "delete"),
    ("is it ok to cancel this?", "cancel"),
    ("are the old releases safe to delete?", "delete"),
    ("check whether it is dangerous to delete the branch", "delete"),
    ("find customers who want to cancel", "cancel"),
    ("list users who asked to delete their account", "delete"),
    ("how many customers want to cancel", "cancel"),
    ("the delete button is broken, file an issue", "delete"),
    ("file an issue that the delete button is broken", "delete"),
    ("the refund page is down", "refund"),
    ("the delete fails with a 500", "delete"),
    ("create an issue titled 'Delete user fails'", "delete"),
    ('create an issue titled "Delete user fails"', "delete"),
    ("create an issue titled Delete user fails", "delete"),
    ("comment “please delete it” on the issue", "delete"),
    ("post the comment 'don't cancel it, refund it'", "cancel refund"),
    ("add a comment saying we should delete it", "delete"),
    ("remind me to cancel it", "cancel"),
    ("delete nothing else", "delete"),
    ("show me how to delete it", "delete"),
    ("can you show me how to cancel my order?", "cancel"),
    ("tell me how I can remove a member", "delete"),
    ("explain to me how to refund a charge", "refund"),
    ("show me how to find and delete it", "delete"),
    ("walk me through deleting it", "delete"),
    ("can you walk us through how to delete it?", "delete"),
    ("guide me through the steps to cancel an order", "cancel"),
    ("walk me through the cancellation", "cancel"),
    ("how to delete it", "delete"),
    ("How to refund a charge?", "refund"),
    ("what is the way to cancel an order", "cancel"),
    ("what's the best way to remove a member?", "remove"),
    ("what are the steps to delete a project", "delete"),
]
# prompt, family asked for
ASKED = [
    ("can you delete it", "delete"),
    ("show me how to archive it, then delete it", "delete"),
    ("how do I cancel my order", "cancel"),
    ("I don't know how to delete it", "delete"),
    ("I want to know how to delete it", "delete"),
    ("walk me through archiving it, then delete it", "delete"),
    ("what is the way to archive it? please delete it", "delete"),
    ("could you please cancel it", "cancel"),
    ("can I cancel my order?", "cancel"),
    ("is it possible to cancel it?", "cancel"),
    ("is it okay if you cancel my order", "cancel"),
    ("why can't you cancel it", "cancel"),
    ("I'm calling about cancelling my order", "cancel"),
    ("I have a customer who wants to cancel", "cancel"),
    ("who can help me cancel my order", "cancel"),
    ("what can I do to cancel my order", "cancel"),
    ("what happens if I cancel it? Anyway, cancel it", "cancel"),
    ("is it safe to delete? then delete it", "delete"),
    ("if it is safe to delete, delete it", "delete"),
    ("delete it if it is safe to delete", "delete"),
    ("tell me who can edit it, then delete it", "delete"),
    ("find the issue about deleting users and delete it", "delete"),
    ("the issue about deleting users can be deleted", "delete"),
    ("find customers who want to cancel and cancel their plans", "cancel"),
    ("add a comment saying it is fixed and close the issue", "close"),
    ("delete the delete button", "delete"),
    ("delete page 4", "delete"),
    ("perform a delete of user 3", "delete"),
    ('delete the issue titled "Cancel button"', "delete"),
    ("delete the users' files and Bob's", "delete"),
    ('"delete the issue"', "delete"),
    ("remove the label but not the issue", "delete"),
    ("remove the label bug and delete nothing else", "delete"),
]


@pytest.mark.parametrize(("prompt", "not_asked"), DESCRIBED)
def test_what_is_only_described_or_quoted_is_not_asked_for(prompt, not_asked):
    assert not set(not_asked.split()) & intents(prompt)


@pytest.mark.parametrize(("prompt", "asked"), ASKED)
def test_a_polite_or_a_later_order_is_asked_for(prompt, asked):
    assert asked in intents(prompt)


@pytest.mark.parametrize(
    ("prompt", "verbs"),
    [
        ("what happens if I delete it", {"read"}),
        ("is it safe to delete it?", {"read"}),
        ("how to create an issue", {"read", "create"}),
        ("how to delete an issue", {"read"}),
        ("create an issue titled 'Delete user fails'", {"create"}),
        ("add a comment saying we should delete it and close the issue", {"create", "action"}),
    ],
)
def test_the_verbs_of_a_prompt_leave_out_what_it_only_describes(prompt, verbs):
    assert prompt_verbs(prompt) == verbs
