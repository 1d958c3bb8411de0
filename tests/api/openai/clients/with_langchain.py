"""LangChain: many chats at once, streams, structured output and embeddings."""

import contextlib

import openai
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


chat = ChatOpenAI(model="tiny", max_retries=0)
answers = chat.batch([f"Say the number {number}." for number in range(12)])
assert [bool(one.content) for one in answers] == [True] * 12
assert all(one.usage_metadata["total_tokens"] > 0 for one in answers)
assert len([chunk for chunk in chat.stream("Say one two three.") if chunk.content]) > 1
person = chat.with_structured_output(Person, method="json_schema").invoke("Make up a person.")
assert isinstance(person, Person)

texts = ["an apple", "a pear"]
found = OpenAIEmbeddings(
    model="nomic-embed-text", check_embedding_ctx_length=False
).embed_documents(texts)
assert [len(vector) for vector in found] == [16, 16]
# What it sends without that argument; the library itself would fetch its tokenizer first.
with contextlib.suppress(openai.BadRequestError):
    openai.OpenAI().embeddings.create(model="nomic-embed-text", input=[[15339, 1917]])
    raise AssertionError("tokens are taken for texts")
