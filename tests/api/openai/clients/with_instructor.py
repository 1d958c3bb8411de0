"""Instructor: answers as objects, in batches and at once."""

import sys
import time

import instructor
import openai
from instructor.batch import BatchProcessor, BatchSuccess
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


processor = BatchProcessor("openai/tiny", Person)
said = [[{"role": "user", "content": f"Make up person {number}."}] for number in range(5)]
for path in (f"{sys.argv[1]}/requests.jsonl", None):
    batch_id = processor.submit_batch(processor.create_batch_from_messages(said, file_path=path))
    deadline = time.monotonic() + 60
    while processor.get_batch_status(batch_id)["status"] != "completed":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    results = processor.retrieve_results(batch_id)
    assert all(isinstance(one, BatchSuccess) for one in results), results
    assert [one.custom_id for one in results] == [f"request-{number}" for number in range(5)]
    assert batch_id in [one.id for one in processor.list_batches()]

client = instructor.from_openai(openai.OpenAI(), mode=instructor.Mode.JSON_SCHEMA)
person = client.chat.completions.create(
    model="tiny", messages=said[0], response_model=Person, max_retries=0
)
assert isinstance(person, Person)
