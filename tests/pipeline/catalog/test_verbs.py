"""What operations do, and what prompts ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalog.lexicon import ADMITS, CLASS, FAMILY, INFLECTED, NOUNS
from pipeline.catalog.verbs import acts, classify, idioms, intents, prompt_acts, prompt_verbs, wanted

# method, path, operation id, summary -> verb, family
OPERATIONS = [
    ("GET", "/orders/{id}", "getOrder", "Retrieve a cancelled order", "read", ""),
    ("GET", "/v1/refunds", "GetRefunds", "List all refunds", "read", ""),
    ("GET", "/transfers/{id}", "", "", "read", ""),
    ("HEAD", "/files/{id}", "checkFile", "", "read", ""),
    ("OPTIONS", "/files", "", "", "read", ""),
    ("GET", "/deleted-items", "listDeletedItems", "List deleted items", "read", ""),
    ("GET", "/archive", "getArchive", "Get an archive", "read", ""),
    ("GET", "/v1/transfers/{id}/reversals", "GetTransfersIdReversals", "", "read", ""),
    ("GET", "/pads/delete", "deletePad", "Deletes a pad", "delete", "delete"),  # a GET that deletes says so twice
    ("GET", "/rides/{id}/cancel_fees", "rideCancelFees", "Cancel fee of a ride", "read", ""),
    ("DELETE", "/users/{id}", "removeUser", "", "delete", "delete"),
    ("DELETE", "/users/{id}", "", "", "delete", "delete"),
    ("DELETE", "/v1/subscriptions/{id}", "DeleteSubscriptionsId", "Cancel a subscription", "delete", "cancel"),
    ("DELETE", "/orgs/{org}/invitations/{id}", "orgs/cancel-invitation", "Cancel an invitation", "delete", "cancel"),
    ("DELETE", "/repos/{o}/alerts", "repos/disable-alerts", "Disable alerts", "delete", "deactivate"),
    ("DELETE", "/repos/{o}/sub", "repos/disable-sub", "Remove a subscription", "delete", "delete"),
    ("DELETE", "/migrations/{id}/archive", "migrations/delete-archive", "Delete an archive", "delete", "delete"),
    ("POST", "/search", "", "", "read", ""),
    ("POST", "/users/search", "searchUsers", "Search for users", "read", ""),
    ("POST", "/refunds/search", "searchRefunds", "Search refunds", "read", ""),
    ("POST", "/refunds/query", "queryRefunds", "Query the refunds", "read", ""),
    ("POST", "/transfer/list", "transferList", "List transfers", "read", ""),
    ("POST", "/transfer/get", "transferGet", "Retrieve a transfer", "read", ""),
    ("POST", "/getUsers", "getUsers", "Returns all users", "read", ""),
    ("POST", "/orders", "createOrder", "Create an order", "create", ""),
    ("POST", "/orders", "", "", "create", ""),
    ("POST", "/v1/customers", "PostCustomers", "", "create", ""),
    ("POST", "/v1/customers/{customer}", "PostCustomersCustomer", "", "update", ""),
    ("POST", "/v1/charges/{charge}/refunds/{refund}", "PostChargesChargeRefundsRefund", "", "update", ""),
    ("POST", "/v1/refunds", "PostRefunds", "", "action", "refund"),
    ("POST", "/v1/refunds", "PostRefunds", "Create a refund", "create", "refund"),
    ("POST", "/v1/charges/{charge}/refund", "PostChargesChargeRefund", "", "action", "refund"),
    ("POST", "/v1/payments/{id}/refunds", "", "Submit a refund for a payment", "create", "refund"),
    ("POST", "/refund-reasons", "createRefundReason", "Create a refund reason", "create", ""),
    ("PUT", "/return_policy/{id}", "updateReturnPolicy", "", "update", ""),
    ("POST", "/v1/transfers", "PostTransfers", "", "action", "transfer"),
    ("POST", "/v1/transfers/{id}/reversals", "PostTransfersIdReversals", "", "action", "refund"),
    ("POST", "/merchants/{id}/payoutSettings", "post-payoutSettings", "Add a payout setting", "create", ""),
    ("POST", "/transfer-recipients", "createTransferRecipient", "Create a transfer recipient", "create", ""),
    ("POST", "/repos/{o}/{r}/transfer", "repos/transfer", "Transfer a repository", "action", "transfer"),
    ("PUT", "/me/player", "transfer-a-users-playback", "Transfer Playback", "update", ""),
    ("POST", "/transfer_to_human_agents", "transfer_to_human_agents", "Transfer the user to a human", "action", ""),
    ("POST", "/cancel_pending_order", "cancel_pending_order", "Cancel a pending order", "action", "cancel"),
    ("POST", "/orders/{id}/cancel", "", "", "action", "cancel"),
    ("PUT", "/orders/{id}/cancel", "PUT_CancelOrder", "", "update", "cancel"),
    ("POST", "/orders/{id}:cancel", "shop.orders.cancel", "", "action", "cancel"),
    ("POST", "/orders", "createOrder", "Create an order that can be cancelled later", "create", ""),
    ("POST", "/invoices/{id}/void", "voidInvoice", "", "action", "cancel"),
    ("POST", "/credentials/revoke", "credentials/revoke", "Revoke a list of credentials", "action", "cancel"),
    ("POST", "/terminateInstances", "TerminateInstances", "", "action", "cancel"),
    ("POST", "/users/delete", "", "", "delete", "delete"),
    ("POST", "/users/bulk-delete", "bulkDeleteUsers", "", "delete", "delete"),
    ("POST", "/rows:batchDelete", "tables.rows.batchDelete", "", "delete", "delete"),
    ("POST", "/#X-Amz-Target=Service.DeleteTags", "DeleteTags", "", "delete", "delete"),
    ("POST", "/messages/{id}/trash", "gmail.users.messages.trash", "", "delete", "delete"),
    ("POST", "/lists/{id}/members", "", "Batch add or remove members", "delete", "delete"),
    ("POST", "/users/{id}/undelete", "undeleteUser", "Undelete a user", "action", ""),
    ("POST", "/runners/remove-token", "actions/create-remove-token", "Create a remove token", "create", ""),
    ("POST", "/cache/purge", "Endpoints_PurgeContent", "", "delete", "delete"),
    ("PUT", "/devices/wipe", "wipeDevice", "Wipe a device", "delete", "delete"),
    ("POST", "/data/erase", "", "Permanently erases all data", "delete", "delete"),
    ("PATCH", "/applications/{id}/token", "apps/reset-token", "Reset a token", "update", "reset"),
    ("POST", "/auth/reset_password", "post_reset_password", "Reset the password", "action", "reset"),
    ("POST", "/users/{id}/deactivate", "", "", "update", "deactivate"),
    ("PUT", "/users/{name}/suspended", "suspend-user", "Suspend a user", "update", "deactivate"),
    ("PUT", "/user/blocks/{username}", "users/block", "Block a user", "update", "deactivate"),
    ("PATCH", "/blocks/{id}/children", "append-block-children", "Append block children", "update", ""),
    ("POST", "/members/{id}/ban", "banMember", "", "update", "deactivate"),
    ("POST", "/chats/{id}/archive", "archiveChat", "Archive a chat", "action", "archive"),
    ("PUT", "/archive-rule/{name}", "UpdateArchiveRule", "", "update", ""),
    ("POST", "/accounts/{id}/close", "closeAccount", "", "action", "close"),
    ("POST", "/return_delivered_order_items", "return_delivered_order_items", "Return items", "action", "return"),
    ("POST", "/flights", "searchFlights", "Return list of flights", "read", ""),
    ("POST", "/reverse", "reverse", "Reverse geocoding", "action", ""),
    ("PUT", "/orders/{id}", "updateOrder", "Replace an order", "update", ""),
    ("PATCH", "/orders/{id}", "", "", "update", ""),
    ("PATCH", "/orders/{id}", "markOrderAsCancelled", "Mark order as cancelled", "update", "cancel"),
    ("PUT", "/teams/{id}/members/{user}", "addMember", "Add a member", "create", ""),
    ("POST", "/jobs/{id}/start", "startJob", "", "action", ""),
    ("POST", "/emails/send", "sendEmail", "", "action", ""),
    ("POST", "/items/{id}", "setItem", "", "update", ""),
    ("POST", "/cards/freeze", "freezeCard", "Freeze a card", "update", ""),
    ("POST", "/renew_contract", "renew_contract", "", "update", ""),
    ("POST", "/devices/{device}/off", "turn_off", "Turn a device off", "update", ""),
    ("POST", "/movements/{id}/dispute", "disputeMovement", "Dispute a booking", "action", ""),
    ("POST", "/tools/top_up_card", "top_up_card", "Top up a card", "action", ""),
    ("POST", "/report_damage", "report_damage", "Report a damage", "action", ""),
    ("POST", "/invoices/{id}/credit", "creditInvoice", "", "action", ""),
    ("POST", "/v1/credit_notes", "PostCreditNotes", "", "create", ""),
    ("POST", "/v1/report_runs", "PostReportRuns", "", "create", ""),
    ("POST", "/credit/token/update", "creditTokenUpdate", "Update a token", "update", ""),
    ("POST", "/reports", "", "", "create", ""),
    ("POST", "/credits", "", "", "create", ""),
    ("POST", "/recallTransfer", "recallTransfer", "Recall a transfer", "action", "cancel"),
    ("POST", "/memories/recall", "recallMemories", "", "action", ""),
]


@pytest.mark.parametrize(("method", "path", "operation_id", "summary", "verb", "family"), OPERATIONS)
def test_operation_says_what_it_does(method, path, operation_id, summary, verb, family):
    assert classify(method, path, operation_id, summary) == (verb, family)


# prompt, families among those asked for, families that must not be
PROMPTS = [
    ("delete the repo", "delete", "refund transfer"),
    ("don't delete the repo", "", "delete cancel"),
    ("don’t delete the repo", "", "delete cancel"),
    ("dont delete the repo", "", "delete"),
    ("do not remove or cancel anything", "", "delete cancel"),
    ("Don't delete, archive or cancel anything.", "", "delete archive cancel"),
    ("archive it without removing files", "archive", "delete"),
    ("never cancel my order", "", "cancel"),
    ("you must not delete it", "", "delete"),
    ("we do not, under any circumstances, delete users", "", "delete"),
    ("under no circumstances should you delete it", "", "delete"),
    ("nothing should be deleted", "", "delete"),
    ("delete nothing", "", "delete"),
    ("please delete no files", "", "delete"),
    ("please don't remove anything, only list it", "", "delete"),
    ("avoid cancelling the booking", "", "cancel"),
    ("prevent deletion of the branch", "", "delete"),
    ("stop deleting my files", "", "delete"),
    ("protect the branch from being deleted", "", "delete"),
    ("undo the cancellation", "", "cancel"),
    ("restore the deleted issue", "", "delete"),
    ("instead of deleting it, archive it", "archive", "delete"),
    ("rather than cancel, change the date", "", "cancel"),
    ("no refund", "", "refund"),
    ("no need to refund", "", "refund"),
    ("I don't want a refund, send a new one", "", "refund"),
    ("I don't want it deleted", "", "delete"),
    ("I do not want my account to be deleted", "", "delete"),
    ("I don't want to cancel, just pause it", "", "cancel"),
    ("exchange the shoes; do not return them", "", "return"),
    ("I don't want this subscription cancel it", "cancel", ""),
    ("I no longer want the subscription", "cancel", ""),
    ("don't forget to delete the branch", "delete", ""),
    ("I don't know how to delete a repo", "delete", ""),
    ("why don't you delete it", "delete", ""),
    ("can't you cancel it", "cancel", ""),
    ("if it isn't shipped, cancel it", "cancel", ""),
    ("if it can't be exchanged then cancel it", "cancel", ""),
    ("Cancel order #W123 because it is not needed", "cancel", "refund"),
    ("I want to cancel my order", "cancel", ""),
    ("I'd like my order cancelled", "cancel", ""),
    ("the booking must be canceled", "cancel", ""),
    ("see if it can be cancelled", "cancel", ""),
    ("request cancellation", "cancel", ""),
    ("cancellation of booking 7", "cancel", ""),
    ("cancellation fee for booking 7", "", "cancel"),
    ("list all cancelled orders", "", "cancel"),
    ("which orders can be cancelled", "", "cancel"),
    ("retrieve a cancelled order", "", "cancel"),
    ("was my order cancelled?", "", "cancel"),
    ("revoke the token", "cancel", ""),
    ("terminate the instance i-1", "cancel", ""),
    ("call it off", "cancel", ""),
    ("get rid of the label", "delete", ""),
    ("purge the cache", "delete", ""),
    ("wipe the device", "delete", ""),
    ("clear the cart", "delete", ""),
    ("it is clear that nothing works", "", "delete"),
    ("I would like to have the item removed", "delete", ""),
    ("the file should be deleted", "delete", ""),
    ("list events and delete the last one", "delete", ""),
    ("search for deleted users", "", "delete"),
    ("we are deleting the old branches", "delete", ""),
    ("unstar the repo", "delete", ""),
    ("unfollow octocat", "delete", ""),
    ("leave the organization", "delete", ""),
    ("pull: delete merged branch", "delete", ""),
    ("turn off vulnerability alerts", "deactivate delete", ""),
    ("ban user 7 from the channel", "deactivate", ""),
    ("reset my password", "reset", ""),
    ("I forgot my password", "reset", ""),
    ("close the issue", "close", ""),
    ("which store is close to me", "", "close"),
    ("sort in reverse order", "", "refund"),
    ("issue a refund for charge ch_1", "refund", "transfer delete"),
    ("refund please", "refund", ""),
    ("refund charge ch_9", "refund", ""),
    ("I want my money back", "refund", ""),
    ("get me a refund for order 5", "refund", ""),
    ("get the refund re_123", "", "refund"),
    ("list refunds", "", "refund"),
    ("show me the refund policy", "", "refund"),
    ("what refunds were made last week", "", "refund"),
    ("what is the status of my refund", "", "refund"),
    ("show me refunds and issue a new refund", "refund", ""),
    ("The order was cancelled, refund it", "refund", "cancel"),
    ("the refund was never issued, issue it", "refund", ""),
    ("You want to return the watch", "return", "delete"),
    ("send the shoes back", "return", ""),
    ("I returned the shoes already", "", "return"),
    ("returned items must be listed", "", "return"),
    ("track my return", "", "return"),
    ("transfer $50 to Bob", "transfer", "delete"),
    ("show transfers from last month", "", "transfer"),
    ("has my transfer arrived", "", "transfer"),
    ("make a bank transfer of 500", "transfer", ""),
    ("send money to Alice", "transfer", ""),
    ("send 250 euros to Anna Kern", "transfer", ""),
    ("wire 300 EUR", "transfer", ""),
    ("send her $50.", "transfer", ""),
    ("move 200€ from savings to checking", "transfer", ""),
    ("pay 80 euros to my landlord", "transfer", ""),
    ("take 100 euros out of my account", "transfer", "delete"),
    ("send 3 pounds of apples to Anna", "", "transfer"),
    ("send the invoice of 250 euros to Anna", "", "transfer"),
    ("don't send 250 euros to Anna", "", "transfer"),
    ("You sent a transfer PY-1 to the wrong person", "", "transfer"),
    ("You requested a refund", "", "refund"),
    ("the month that you paid twice should be refunded", "refund", ""),
    ("You sent a transfer and want to recall it", "cancel", "transfer"),
    ("recall the payment", "cancel", ""),
    ("do you recall the order number", "", "cancel"),
    ("I can't recall it", "", "cancel"),
    ("stop the standing order", "cancel", ""),
    ("stop my subscription", "cancel", ""),
    ("stop my subscription from being cancelled", "", "cancel"),
    ("do not stop the subscription", "", "cancel"),
    ("stop the server", "", "cancel"),
    ("end my contract", "cancel", ""),
    ("at the end of my contract", "", "cancel"),
    ("get out of the contract", "cancel", ""),
    ("get my contract", "", "cancel"),
    ("call your booking off", "cancel", ""),
    ("don't call my booking off", "", "cancel"),
    ("call the office for its off hours", "", "cancel"),
    ("scrap the order", "cancel", ""),
    ("find a scrap dealer", "", "cancel"),
    ("you want your money back", "refund", ""),
    ("take Mia off the booking", "delete", ""),
    ("take the song Hello out of my playlist", "delete", ""),
    ("don't take Mia off the booking", "", "delete"),
    ("take Friday off", "", "delete"),
    ("take two days off the schedule", "", "delete"),
    ("take the train out of Berlin", "", "delete"),
    ("take the train out of the city", "", "delete"),
    ("take it easy", "", "delete"),
    ("take ten dollars off my order", "", "delete"),
    ("when does the plane take off?", "", "delete"),
    ("money back, please", "refund", ""),
    ("a plan with a money back guarantee", "", "refund"),
    ("I want roaming turned off on both lines", "deactivate", ""),
    ("is roaming turned off?", "", "deactivate"),
    ("stop following the band", "delete", ""),
    ("don't stop watching the repo", "", "delete"),
    ("webhook: crud", "delete", ""),
    ("customer: is deletable", "delete", ""),
    ("customer: is it deletable?", "", "delete"),
    ("create a new order", "", "delete cancel"),
    ("", "", "delete"),
]


@pytest.mark.parametrize(("prompt", "asked", "not_asked"), PROMPTS)
def test_prompt_asks_for_what_it_says_and_not_for_what_it_denies(prompt, asked, not_asked):
    found = intents(prompt)
    assert set(asked.split()) <= found
    assert not set(not_asked.split()) & found


@pytest.mark.parametrize(
    ("prompt", "verbs"),
    [
        ("list my repos", {"read"}),
        ("who directed Titanic", {"read"}),
        ("create an issue and list the labels", {"create", "read"}),
        ("modify the shipping address", {"update"}),
        ("remove the label", {"delete"}),
        ("don't remove the label, rename it", {"update"}),
        ("send the invoice", {"action"}),
        ("show my order", {"read"}),
        ("freeze the card", {"update"}),
        ("turn the lights on", {"update"}),
        ("dispute the charge", {"action"}),
        ("top up my card", {"action"}),
        ("top rated movies", set()),
        ("report of the last run", set()),
        ("credit note 7", set()),
        ("how many followers does Taylor Swift have?", {"read"}),
        ("what do people say", {"read"}),
        ("do you sell tickets", {"read"}),
        ("do it again", {"action"}),
        ("did I lock the front door?", {"read"}),
        ("what did I post yesterday", {"read"}),
        ("any unhappy customers lately?", {"read"}),
        ("is it possible to reschedule it?", {"update"}),
        ("Have I paid yet? If not, pay it", {"read", "action"}),
        ("show me the login bug", {"read"}),
        ("reopen ticket 4411", {"action"}),
        ("file a bug about the login", {"create"}),
        ("hand 4411 over to billing", {"update"}),
        ("give WEB-12 to Priya", {"update"}),
        ("put it on my running playlist", {"create"}),
        ("merge it and tell the customer", {"action"}),
        ("tell me the price", {"read"}),
    ],
)
def test_prompt_verbs_are_those_of_its_orders(prompt, verbs):
    assert prompt_verbs(prompt) == verbs


@pytest.mark.parametrize(
    ("prompt", "unwanted"),
    [
        ("Please reactivate +491 and do not send a new SIM.", "do not send a new SIM"),
        ("You do not want to change your plan, but you'd buy 2 GB", "You do not want to change your plan"),
        ("Don’t book anything. List the rooms", "Don’t book anything"),
        ("I don't want a refund, send a new one", "I don't want a refund"),
        ("You don't intend to book before you see the prices", "You don't intend to book "),
        ("find the order, but never cancel it - only look at it", "never cancel it"),
        ("remove the label but not the issue", " but not the issue"),
        ("remove the label bug and delete nothing else", " and delete nothing else"),
        ("archive it without deleting the files", " without deleting the files"),
        # What is not wanted says what is:
        ("I don't want a refund", ""),
        ("I no longer want the subscription", ""),
        ("I do not want this order any more", ""),
        ("find the list, you don't want to follow it any more", ""),
        ("I don't want the booking, cancel it", ""),
        ("find a cardiologist, you do not want to wait more than two weeks", ""),
        ("I don't have a booking, find one", ""),
        ("you paid and do not see the money, find it", ""),
        ("check the fee and do not cancel it unless it is zero", ""),
        ("don't forget to cancel it, find it first", ""),
        ("list sims (never activated)", ""),
    ],
)
def test_a_clause_that_only_says_what_not_to_do_is_left_out(prompt, unwanted):
    left = wanted(prompt)
    assert left.split() == (prompt.replace(unwanted, " ") if unwanted else prompt).split()
    assert left == prompt or unwanted


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("hand it over to Tom", ("assign",)),
        ("let Bob know that I'm late", ("send",)),
        ("let me know when it ships", ()),
        ("wrap up sprint 42", ("complete",)),
        ("bring back the old channel", ("restore",)),
        ("open the door", ()),
        ("open a ticket about the printer and get rid of the old one", ("delete", "create")),
        ("I've forgotten my password", ()),
    ],
)
def test_idioms_stand_for_words_of_operations(prompt, words):
    assert idioms(prompt) == words


@pytest.mark.parametrize(
    ("prompt", "acts"),
    [
        ("create, list and delete hooks", ("create", "list", "delete")),
        ("charge: capture and refund it", ("capture", "refund")),
        ("charge: is creatable", ("create",)),
        ("don't delete it, archive it", ("archive",)),
        ("the weather in Rome", ()),
    ],
)
def test_acts_are_the_orders_of_a_prompt_in_its_order(prompt, acts):
    assert prompt_acts(prompt) == acts


@pytest.mark.parametrize(
    ("method", "path", "operation_id", "summary", "expected"),
    [
        ("POST", "/charges/{id}/refund", "refundCharge", "Give money back", {"refund"}),
        ("POST", "/orders/{id}/void", "", "", {"cancel"}),  # one family
        ("GET", "/refunds", "listRefunds", "List all refunds", {"list"}),
        ("GET", "/order", "", "", set()),  # a noun
    ],
)
def test_an_operation_is_called_by_its_verbs(method, path, operation_id, summary, expected):
    assert acts(method, path, operation_id, summary) == expected


def test_a_question_about_the_past_orders_nothing_to_be_lost():
    assert not intents("did you cancel my order?")
    assert intents("did you cancel my order? If not, cancel it")
    assert intents("are you able to cancel my order?")


def test_every_destructive_word_has_a_family_that_admits_itself():
    assert set(FAMILY.values()) == set(ADMITS)
    assert all(family in admitted for family, admitted in ADMITS.items())
    assert set(NOUNS.values()) <= set(FAMILY)
    assert set(FAMILY) <= set(CLASS)


@pytest.mark.parametrize(
    ("form", "word"),
    [("cancelled", "cancel"), ("canceling", "cancel"), ("refunds", "refund"), ("banned", "ban"), ("modified", "modify"),
     ("transferred", "transfer"), ("withdrew", "withdraw"), ("purging", "purge"), ("searches", "search")],
)  # fmt: skip
def test_inflections_lead_to_the_base_form(form, word):
    assert INFLECTED[form].word == word


@given(st.text(max_size=300), st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_read_without_error(text, path, operation_id):
    assert intents(text) <= set(ADMITS)
    prompt_verbs(text)
    assert wanted(text) or not text
    for method in ("GET", "POST", "DELETE", ""):
        classify(method, path, operation_id, text)


def test_reading_methods_are_never_destructive_by_one_word_alone():
    for word in FAMILY:
        assert classify("GET", f"/{word}s/{{id}}", "", f"Get the {word}s") == ("read", "")
